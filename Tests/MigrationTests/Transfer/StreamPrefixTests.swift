import Hashing
import MigrationProtocol
import NIOCore
import TestSupport
import Testing

@testable import Migration

@Suite("A stream with a prefix")
struct StreamPrefixTests {
    private static func prefix(_ bytes: [UInt8]) -> StreamPrefix {
        let buffer = BlockBuffer(byteCount: bytes.count)
        buffer.bytes.copyBytes(from: bytes)
        return StreamPrefix(buffer, byteCount: bytes.count)
    }

    /// The pieces of a stream, whose blocks must come out as they went in.
    /// - Returns: the bytes that each piece took.
    private func pass(
        _ parts: [(bytes: [UInt8], level: Int32, isUrgent: Bool)], workers: Int, prefix: StreamPrefix?, from: Int,
        readWith theirs: StreamPrefix? = nil
    ) throws -> [Int] {
        let stream = try DataStream(level: 3, windowLog: ZstdParameters.windowLog, workers: workers)
        let arriving = try ArrivingStream(blockSize: 4096)
        var sizes: [Int] = []
        var came: [UInt8] = []
        func store(_ runs: [BlockRange], _ piece: ByteBuffer, _ count: Int) throws {
            try arriving.unpack(DataSegment(runs: runs, compressed: piece), byteCount: count) { runs, buffer in
                came += buffer.prefix(runs.reduce(0) { $0 + Int($1.count) } * 4096)
            }
            sizes.append(piece.readableBytes)
        }
        for (number, part) in parts.enumerated() {
            if number == from, let prefix {
                arriving.use(theirs ?? prefix)
                stream.use(prefix)
            }
            let piece = try part.bytes.withUnsafeBytes {
                try stream.compress($0, level: part.level, isUrgent: part.isUrgent)
            }
            try store([BlockRange(first: 0, count: UInt64(part.bytes.count / 4096))], piece, part.bytes.count)
        }
        if workers > 0 { try store([], stream.flush(), 0) }
        try arriving.endRound()
        #expect(came == parts.flatMap(\.bytes))
        return sizes
    }

    @Test("What stands in the prefix costs next to nothing, however it is shifted", arguments: [0, 2], [0, 1])
    func shrinks(workers: Int, from: Int) throws {
        var random = Seeded.fresh()
        let known = random.bytes(2 << 20)
        let shifted = Array(known[1234..<1234 + (512 << 10)])
        let parts = [(random.bytes(4096), 6 as Int32, false), (shifted, 6, false)]
        let sizes = try pass(parts, workers: workers, prefix: Self.prefix(known), from: from)
        #expect(sizes.reduce(0, +) < 12 << 10)
    }

    @Test("Levels change, a guest waits now and then, a prefix comes at any time: all arrives", arguments: [0, 2])
    func mixed(workers: Int) throws {
        var random = Seeded.fresh()
        let known = random.bytes(1 << 20)
        for _ in 0..<12 {
            let parts = (0..<8).map { _ in
                let start = Int.random(in: 0..<512 << 10, using: &random)
                let count = Int.random(in: 1...100, using: &random) * 4096
                let bytes = Bool.random(using: &random) ? Array(known[start..<start + count]) : random.bytes(count)
                let level: Int32 = [1, 3, 6, 9].randomElement(using: &random)!
                return (bytes, level, Int.random(in: 0..<4, using: &random) == 0)
            }
            let from = Int.random(in: 0..<8, using: &random)
            _ = try pass(parts, workers: workers, prefix: Self.prefix(known), from: from)
        }
    }

    @Test("A prefix of more than 16 MiB -> threads at the lowest levels do without it, as zstd would crash")
    func long() throws {
        var random = Seeded.fresh()
        let known = random.bytes(18 << 20)
        let parts = (0..<24).map { (Array(known[$0 << 19..<($0 + 1) << 19]), [1, 3][$0 / 12] as Int32, false) }
        _ = try pass(parts, workers: 2, prefix: Self.prefix(known), from: 0)
    }

    @Test("A prefix and its window are no longer than what a destination gives room for")
    func room() {
        let room = PrefixRoom(byteCount: 100, windowBytes: 10)
        var first = room.take(50)
        #expect(first != nil && room.take(31) == nil && room.take(30) != nil)
        first = nil
        let again = room.take(50)
        #expect(again != nil && first == nil)
        let shared = PrefixRoom()
        let parts = (0..<4).map { _ in shared.take(PrefixQuestion.maximumBytes) }
        #expect(parts.count { $0 != nil } == 2)
    }

    @Test("Invariant 10: a window of 256 MiB is an error where there is no prefix")
    func window() throws {
        let frame = GoldenValues.bytes("28b52ffd 00 90 038000 61")
        let plain = try ArrivingStream(blockSize: 4096)
        let runs = [BlockRange(first: 0, count: 1)]
        #expect(throws: ZstdError.self) {
            try plain.unpack(DataSegment(runs: runs, compressed: frame), byteCount: 4096) { _, _ in }
        }
        let withPrefix = try ArrivingStream(blockSize: 4096)
        withPrefix.use(Self.prefix([1, 2, 3]))
        var came = 0
        try withPrefix.unpack(DataSegment(runs: runs, compressed: frame), byteCount: 4096) { _, _ in came += 1 }
        #expect(came == 1)
    }
}
