import Testing

@testable import Migration

@Suite struct CompressibilityTests {
    /// Noise, and 0 from `zeroFrom` on.
    private func bytes(_ count: Int, zeroFrom: Int) -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        return (0..<count).map { $0 < zeroFrom ? UInt8.random(in: 0...255, using: &random) : 0 }
    }

    @Test("Samples name the blocks that they are of", arguments: [512, 4096, 65536])
    func blocks(blockSize: Int) throws {
        let kibibyte = 1 << 10
        let bytes = bytes(1030 * kibibyte, zeroFrom: 600 * kibibyte)
        // Every other block of a disk.
        let blocks = (0..<UInt64((bytes.count + blockSize - 1) / blockSize)).map { 1000 + 2 * $0 }
        let samples = try bytes.withUnsafeBytes {
            try Compressibility().samples(of: $0, blocks: blocks, blockSize: blockSize).samples
        }
        let expected = [(0, 16), (512, 528), (1024, 1030)].map { (start, end) in
            Array(blocks[start * kibibyte / blockSize..<(end * kibibyte + blockSize - 1) / blockSize])
        }
        #expect(samples.map(\.blocks) == expected)
        #expect(samples.map { $0.ratio > 0.9 } == [true, true, false])
    }
}
