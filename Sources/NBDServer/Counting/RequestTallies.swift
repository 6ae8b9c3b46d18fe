import BlockModel
import Glibc
import Synchronization

/// The numbers of requests for one export: a `RequestTally` for each loop, summed when somebody asks.
///
/// `@unchecked Sendable`: the memory is allocated once, freed once, and reached only through atomics.
public final class RequestTallies: @unchecked Sendable {
    /// All kinds of requests, in the order of their numbers.
    public static let commands: [RequestKind] = [.read, .write, .flush, .trim, .writeZeroes, .cache, .status]

    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let loops: Int

    /// Creates numbers that are all 0.
    /// - Parameter loops: number of the server's loops.
    public init(loops: Int) {
        self.loops = loops
        let count = max(loops, 1) * RequestTally.wordCount
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Atomic<UInt64>>.stride, alignment: 64)
        // An atomic word of zero has only zero bytes.
        memset(memory, 0, count * MemoryLayout<Atomic<UInt64>>.stride)
        words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    deinit { UnsafeMutableRawPointer(words).deallocate() }

    /// The numbers of a loop, which must not outlive this object.
    func tally(of loop: Int) -> RequestTally {
        precondition(loop < loops)
        return RequestTally(words + loop * RequestTally.wordCount)
    }

    /// Returns what all loops have counted of a command. Any thread may call.
    public func totals(of command: RequestKind) -> RequestTotals {
        var totals = RequestTotals()
        for loop in 0..<loops { tally(of: loop).add(command, to: &totals) }
        return totals
    }
}
