import Glibc
import Synchronization

/// The seeds that are being played, one slot a thread, each as a line of text that can be written out as it is.
///
/// The lines stand in memory of a file, where there is one: they are there after the process was killed, too.
/// `@unchecked Sendable`: a line is written by the thread that has taken its slot; whoever reads it writes it out only.
final class SeedSlots: @unchecked Sendable {
    static let count = 128
    /// Bytes, with the line feed.
    static let lineBytes = 128
    private static let space = UInt8(ascii: " ")

    /// `count` lines. One that begins with a space is not in use.
    let lines: UnsafeMutablePointer<UInt8>
    /// How many games each slot has begun and ended: odd while one is being played.
    private let turns: UnsafeMutablePointer<Atomic<UInt64>>

    /// - Parameter path: a file to hold the lines, which is made; nil for memory of the process's own.
    init(path: String?) {
        let bytes = Self.count * Self.lineBytes
        var memory = UnsafeMutableRawPointer(bitPattern: -1)
        if let path {
            let descriptor = open(path, O_RDWR | O_CREAT, 0o600)
            if descriptor >= 0, ftruncate(descriptor, off_t(bytes)) == 0 {
                memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
            }
            if memory == MAP_FAILED { say("\(path) can't hold the seeds in play: \(String(cString: strerror(errno)))") }
            if descriptor >= 0 { close(descriptor) }
        }
        if memory == MAP_FAILED { memory = malloc(bytes) }
        lines = memory!.assumingMemoryBound(to: UInt8.self)
        for index in 0..<bytes {
            lines[index] = (index + 1) % Self.lineBytes == 0 ? UInt8(ascii: "\n") : Self.space
        }
        turns = calloc(Self.count, MemoryLayout<Atomic<UInt64>>.stride)!.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    func turns(of slot: Int) -> UInt64 { turns[slot].load(ordering: .relaxed) }

    /// Takes a slot for a seed that is about to be played.
    func begin(_ seed: UInt64, _ fault: String?) -> Int {
        guard let slot = (0..<Self.count).first(where: take) else {
            preconditionFailure("more than \(Self.count) seeds are played at once, and seed \(seed) has no slot")
        }
        let replay = "; replay: nbd-scripts/test simulate --seeds 1 --seed \(seed)"
        let how = fault.map { " with the fault \($0)" } ?? replay
        let text = "simulation: seed \(seed) was being played\(how)".utf8.prefix(Self.lineBytes - 1)
        let line = lines + slot * Self.lineBytes
        var index = 0
        for byte in text {
            if index > 0 { line[index] = byte }
            index += 1
        }
        for index in index..<Self.lineBytes - 1 { line[index] = Self.space }
        // Last, so that nobody finds half a line.
        atomicMemoryFence(ordering: .releasing)
        line[0] = text.first!
        return slot
    }

    func end(_ slot: Int) {
        lines[slot * Self.lineBytes] = Self.space
        turns[slot].add(1, ordering: .releasing)
    }

    private func take(_ slot: Int) -> Bool {
        let turn = turns[slot].load(ordering: .relaxed)
        return turn % 2 == 0
            && turns[slot].compareExchange(expected: turn, desired: turn + 1, ordering: .acquiring).exchanged
    }

    /// The line of a slot, without the spaces at its end; nil where nothing is played. For signal handlers too.
    func line(_ slot: Int) -> UnsafeBufferPointer<UInt8>? { Self.line(slot, of: lines) }

    static func line(_ slot: Int, of lines: UnsafeMutablePointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
        let line = lines + slot * lineBytes
        guard line[0] != space else { return nil }
        var length = lineBytes - 1
        while length > 0, line[length - 1] == space { length -= 1 }
        return UnsafeBufferPointer(start: line, count: length)
    }
}
