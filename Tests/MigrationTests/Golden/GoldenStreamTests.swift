import NIOCore
import Testing

@testable import Migration
@testable import MigrationProtocol

/// The bytes of blocks as another program may send them. Made by hand, by RFC 8878: what zstd makes of the same blocks
/// differs from one of its releases to the next.
@Suite("Golden: the compressed stream")
struct GoldenStreamTests {
    /// A frame with a window of 128 MiB and no checksum.
    private static let header = "28b52ffd 00 88"
    /// 4096 times the byte that follows, in a block that is not the last, and in one that is.
    private static let run = "028000"
    private static let lastRun = "038000"

    /// What comes of messages that each name so many blocks, from 100 on.
    private func blocks(_ messages: [(count: UInt64, hex: String)]) throws -> [UInt8] {
        let stream = try ArrivingStream(blockSize: 4096)
        var next: UInt64 = 100
        var came: [UInt8] = []
        for (count, hex) in messages {
            let runs = count == 0 ? [] : [BlockRange(first: next, count: count)]
            next += count
            let segment = DataSegment(runs: runs, compressed: GoldenValues.bytes(hex))
            try stream.unpack(segment, byteCount: Int(count) * 4096) { runs, buffer in
                #expect(runs.map(\.first) == [100 + UInt64(came.count)])
                for block in 0..<Int(runs[0].count) {
                    let bytes = buffer.slice(block * 4096, 4096)
                    #expect(bytes.allSatisfy { $0 == bytes[0] })
                    came.append(bytes[0])
                }
            }
        }
        try stream.endRound()
        return came
    }

    @Test("Pieces of one frame, whole with each message")
    func pieces() throws {
        let came = try blocks([(1, Self.header + Self.run + "61"), (2, Self.run + "62" + Self.run + "63")])
        #expect(came == Array("abc".utf8))
    }

    @Test("Pieces that come later than their blocks are named, cut anywhere, and frames that follow each other")
    func late() throws {
        let came = try blocks([
            (1, Self.header + "02"), (1, ""), (0, "8000 61" + Self.lastRun),
            (1, "62 \(Self.header)" + Self.lastRun + "63"),
        ])
        #expect(came == Array("abc".utf8))
    }

    @Test("More than was named, and less, is an error")
    func wrong() throws {
        #expect(throws: ZstdError.self) {
            try blocks([(1, Self.header + Self.run + "61" + Self.run + "62")])
        }
        #expect(throws: MigrationError.self) { try blocks([(2, Self.header + Self.run + "61")]) }
    }
}
