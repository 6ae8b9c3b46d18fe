import NIOCore
import TestSupport
import Testing

@testable import Migration

@Suite("The compressed stream")
struct StreamTests {
    @Test("Pieces come out as they went in, and a repeat costs next to nothing")
    func roundTrip() throws {
        var random = Seeded.fresh()
        let compressor = try StreamCompressor(level: 3)
        let decompressor = try StreamDecompressor()
        let incompressible = random.bytes(512 << 10)
        var sizes: [Int] = []
        for bytes in [incompressible, [UInt8](repeating: 3, count: 4096), incompressible, [9]] {
            sizes.append(try pass(bytes, through: compressor, decompressor))
        }
        #expect(sizes[2] < 1000, "half a MiB that was sent before took \(sizes[2]) bytes")
    }

    @Test("The level may change between any two pieces")
    func levels() throws {
        var random = Seeded.fresh()
        let compressor = try StreamCompressor(level: 3)
        let decompressor = try StreamDecompressor()
        var level: Int32 = 3
        for _ in 0..<60 {
            if Bool.random(using: &random) { level = [1, 3, 6, 9, 12].randomElement(using: &random)! }
            let word = random.bytes(Int.random(in: 1...500, using: &random))
            let bytes = Array(repeatElement(word, count: Int.random(in: 1...300, using: &random)).joined())
            _ = try pass(bytes, through: compressor, decompressor, level: level)
        }
    }

    /// One piece, which must come out as it went in.
    /// - Returns: the bytes that it took.
    private func pass(
        _ bytes: [UInt8], through compressor: StreamCompressor, _ decompressor: StreamDecompressor, level: Int32 = 3
    ) throws -> Int {
        let piece = try bytes.withUnsafeBytes { try compressor.compress($0, level: level) }
        var out = [UInt8](repeating: 0, count: bytes.count)
        try out.withUnsafeMutableBytes { out in
            try piece.withUnsafeReadableBytes { try decompressor.decompress($0, into: out) }
        }
        #expect(out == bytes)
        return piece.readableBytes
    }

    @Test("Invariant 10: a piece that is damaged, too long or too short is an error")
    func damaged() throws {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let bytes = random.bytes(3000)
            var piece = Array(
                try bytes.withUnsafeBytes { try StreamCompressor(level: 3).compress($0, level: 3) }.readableBytesView)
            let size = [2999, 3001, 0].randomElement(using: &random)!
            var out = [UInt8](repeating: 0, count: size)
            #expect(throws: ZstdError.self) {
                try out.withUnsafeMutableBytes { out in
                    try piece.withUnsafeBytes { try StreamDecompressor().decompress($0, into: out) }
                }
            }
            piece[Int.random(in: 0..<piece.count, using: &random)] ^= 0x55
            var same = [UInt8](repeating: 0, count: 3000)
            // Damage to the bytes themselves is for the root hash to find; it must not do anything else.
            same.withUnsafeMutableBytes { same in
                piece.withUnsafeBytes { try? StreamDecompressor().decompress($0, into: same) }
            }
        }
    }
}
