import Block
import Glibc
import NIOCore
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("A stream whose bytes come later than their blocks are named")
struct ArrivingStreamTests {
    private static let blockSize = 4096

    /// Both ends of a stream, of which all that comes must be what was sent.
    private final class Ends {
        let stream: DataStream
        private let arriving: ArrivingStream
        private(set) var sent: [[UInt8]] = []
        private(set) var came = 0

        init(workers: Int) throws {
            stream = try DataStream(level: 3, windowLog: ZstdParameters.windowLog, workers: workers)
            arriving = try ArrivingStream(blockSize: blockSize)
        }

        /// Names blocks and sends what of them is ready.
        func send(_ bytes: [UInt8], level: Int32 = 3, isUrgent: Bool = false) throws {
            let first = UInt64(sent.count) << 20
            sent.append(bytes)
            let piece = try bytes.withUnsafeBytes { try stream.compress($0, level: level, isUrgent: isUrgent) }
            let runs = [BlockRange(first: first, count: UInt64(bytes.count / blockSize))]
            for segment in DataSegment(runs: runs, compressed: piece).messages(of: 256 << 10) {
                try unpack(segment, byteCount: segment.runs.isEmpty ? 0 : bytes.count)
            }
        }

        func flush() throws {
            for segment in DataSegment(runs: [], compressed: try stream.flush()).messages(of: 256 << 10) {
                try unpack(segment, byteCount: 0)
            }
        }

        func unpack(_ segment: DataSegment, byteCount: Int) throws {
            try arriving.unpack(segment, byteCount: byteCount) { runs, buffer in
                #expect(runs[0].first == UInt64(came) << 20)
                let count = Int(runs[0].count) * blockSize
                let bytes = sent[came] + [UInt8](repeating: 0, count: blockSize)
                #expect(bytes.count == count + blockSize)
                let isSame = bytes.withUnsafeBytes { memcmp($0.baseAddress!, buffer.bytes.baseAddress!, $0.count) == 0 }
                #expect(isSame)
                came += 1
            }
        }

        var awaited: [Range<UInt64>] { arriving.awaited }
        func endRound() throws { try arriving.endRound() }
    }

    private static func blocks(_ random: inout Seeded) -> [UInt8] {
        let word = random.bytes(Int.random(in: 1...5000, using: &random))
        let count = Int.random(in: 1...DataSegment.maximumBytes / blockSize, using: &random) * blockSize
        return [UInt8](unsafeUninitializedCapacity: count) { room, filled in
            for start in stride(from: 0, to: count, by: word.count) {
                for index in start..<min(count, start + word.count) { room[index] = word[index - start] }
            }
            filled = count
        }
    }

    @Test("All comes, in order, whatever the level and whoever waits", arguments: [0, 1, 3])
    func inOrder(workers: Int) throws {
        var random = Seeded.fresh()
        let ends = try Ends(workers: workers)
        var (level, isUrgent, wasLate) = (3 as Int32, false, false)
        for _ in 0..<100 {
            switch Int.random(in: 0..<20, using: &random) {
            case 0: level = [1, 3, 6, 9].randomElement(using: &random)!
            case 1: isUrgent.toggle()
            case 2:
                try ends.flush()
                #expect(ends.awaited.isEmpty)
                try ends.endRound()
            default: break
            }
            try ends.send(Self.blocks(&random), level: level, isUrgent: isUrgent)
            if isUrgent || workers == 0 { #expect(ends.came == ends.sent.count, "somebody waits") }
            wasLate = wasLate || !ends.awaited.isEmpty
            #expect(ends.awaited.isEmpty == (ends.came == ends.sent.count))
        }
        #expect(wasLate == (workers > 0))
        try ends.flush()
        #expect(ends.came == ends.sent.count)
    }

    @Test("What hardly shrinks is late too, goes in messages that are not too long, and is counted")
    func incompressible() throws {
        var random = Seeded.fresh()
        let ends = try Ends(workers: 2)
        for _ in 0..<40 { try ends.send(random.bytes(DataSegment.maximumBytes)) }
        let late = ends.sent.count - ends.came
        #expect(late > 0)
        let isNear = abs(Int(ends.stream.lateBytes) - late * DataSegment.maximumBytes) <= 2 * DataSegment.maximumBytes
        #expect(isNear, "\(ends.stream.lateBytes) of \(late) messages")
        let rest = DataSegment(runs: [], compressed: try ends.stream.flush())
        let messages = rest.messages(of: 1 << 20)
        #expect(messages.count > 1 && messages.allSatisfy { $0.compressed.readableBytes <= 1 << 20 })
        for segment in messages { try ends.unpack(segment, byteCount: 0) }
        #expect(ends.came == ends.sent.count && ends.stream.lateBytes == 0)
    }

    @Test("However few blocks are named at a time, no more wait than may")
    func sparse() throws {
        let ends = try Ends(workers: 2)
        for number in 0..<3000 { try ends.send([UInt8](repeating: UInt8(number % 251), count: Self.blockSize)) }
        try ends.flush()
        #expect(ends.came == 3000)
    }

    @Test("Invariant 10: bytes that are owed at the end of a round, or never come, or are of no block, are errors")
    func owed() throws {
        var random = Seeded.fresh()
        let ends = try Ends(workers: 2)
        try ends.send(Self.blocks(&random))
        #expect(throws: MigrationError.self) { try ends.endRound() }
        let named = DataSegment(runs: [BlockRange(first: 0, count: 1)], compressed: ByteBuffer())
        #expect(throws: MigrationError.self) {
            for _ in 0..<2000 { try ends.unpack(named, byteCount: Self.blockSize) }
        }
        let spare = try Ends(workers: 0)
        let piece = try Self.blocks(&random).withUnsafeBytes {
            try spare.stream.compress($0, level: 3, isUrgent: false)
        }
        #expect(throws: ZstdError.self) {
            try spare.unpack(DataSegment(runs: [], compressed: piece), byteCount: 0)
        }
    }
}
