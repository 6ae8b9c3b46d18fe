import BlockModel
import Synchronization

/// Counts the requests for one export on one loop. The loop's thread alone counts; any thread may read.
///
/// The memory belongs to a `RequestTallies`, so that a request costs no reference count.
struct RequestTally {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init(_ words: UnsafeMutablePointer<Atomic<UInt64>>) {
        self.words = words
    }

    private enum Word {
        static let bytes = 0
        static let errors = 1
        static let nanoseconds = 2
        static let firstBucket = 3
    }

    /// Words of one command: a multiple of a cache line, which has 8.
    private static var stride: Int { (Word.firstBucket + LatencyBuckets.count + 7) / 8 * 8 }
    /// Words of a tally.
    static let wordCount = RequestTallies.commands.count * stride

    /// Counts a request that has ended.
    @inline(__always)
    func record(_ kind: RequestKind, bytes: UInt64, hasFailed: Bool, nanoseconds: UInt64) {
        let base = words + Int(kind.rawValue) * Self.stride
        Self.add(bytes, to: base + Word.bytes)
        if hasFailed { Self.add(1, to: base + Word.errors) }
        Self.add(nanoseconds, to: base + Word.nanoseconds)
        Self.add(1, to: base + Word.firstBucket + LatencyBuckets.index(nanoseconds: nanoseconds))
    }

    /// Nobody else writes, so that no locked instruction is needed.
    @inline(__always)
    private static func add(_ value: UInt64, to word: UnsafeMutablePointer<Atomic<UInt64>>) {
        word.pointee.store(word.pointee.load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    /// Adds what has been counted of a command.
    func add(_ kind: RequestKind, to totals: inout RequestTotals) {
        let base = words + Int(kind.rawValue) * Self.stride
        func word(_ index: Int) -> UInt64 { base[index].load(ordering: .relaxed) }
        totals.bytes &+= word(Word.bytes)
        totals.errors &+= word(Word.errors)
        totals.nanoseconds &+= word(Word.nanoseconds)
        for bucket in totals.buckets.indices { totals.buckets[bucket] &+= word(Word.firstBucket + bucket) }
    }
}
