import TestSupport
import Testing

@testable import Block
@testable import BlockModel

@Suite struct BlockGeometryTests {
    @Test(arguments: [0, 1, 256, 511, 513, 1000, 4095, 65_535, 65_537, 131_072, -4096])
    func otherBlockSizesThanPowersOfTwoFrom512To64KAreNone(size: Int) {
        #expect(BlockGeometry(size: 1 << 20, blockSize: size) == nil)
    }

    @Test func disksFromOneByteToTwoToThe62() {
        #expect(BlockGeometry(size: 0, blockSize: 4096) == nil)
        #expect(BlockGeometry(size: 1 << 62 + 1, blockSize: 4096) == nil)
        #expect(BlockGeometry(size: .max, blockSize: 4096) == nil)
        #expect(BlockGeometry(size: 1, blockSize: 4096)?.blockCount == 1)
        #expect(BlockGeometry(size: 1 << 62, blockSize: 512)?.blockCount == 1 << 53)
        #expect(BlockGeometry(size: 1 << 62, blockSize: 65_536)?.blockCount == 1 << 46)
    }

    @Test func theLastBlocksOfTheLargestDiskAreInReach() throws {
        let geometry = try #require(BlockGeometry(size: 1 << 62 - 1, blockSize: 65_536))
        let last = geometry.blockCount - 1
        let end: UInt64 = (1 << 62) - 1
        #expect(geometry.bytes(of: last..<last + 1) == end - 65_535..<end)
        #expect(geometry.blocks(touching: end - 1..<end) == last..<last + 1)
        #expect(geometry.byteCount(of: 0..<last + 1) == 1 << 62 - 1)
    }

    @Test func theLastBlockMayBeShort() throws {
        let geometry = try #require(BlockGeometry(size: 10_000, blockSize: 4096))
        #expect(geometry.blockCount == 3)
        #expect(geometry.bytes(of: 2..<3) == 8192..<10_000)
        #expect(geometry.byteCount(of: 1..<3) == 5904)
        #expect(geometry.bytes(of: 3..<9).isEmpty)
    }

    @Test func aByteRangeTouchesTheBlocksThatItsBytesAreIn() throws {
        var random = Seeded.fresh()
        for _ in 0..<2000 {
            let block = 512 << Int.random(in: 0...7, using: &random)
            let size = UInt64.random(in: 1...1_000_000, using: &random)
            let geometry = try #require(BlockGeometry(size: size, blockSize: block))
            let start = UInt64.random(in: 0...size, using: &random)
            let range = start..<UInt64.random(in: start...size, using: &random)
            let blocks = geometry.blocks(touching: range)
            guard !range.isEmpty else {
                #expect(blocks.isEmpty)
                continue
            }
            #expect(geometry.bytes(of: blocks).contains(range.lowerBound))
            #expect(geometry.bytes(of: blocks).contains(range.upperBound - 1))
            #expect(geometry.bytes(of: blocks.lowerBound..<blocks.lowerBound + 1).contains(range.lowerBound))
            #expect(
                geometry.bytes(of: blocks.upperBound - 1..<blocks.upperBound).contains(range.upperBound - 1))
        }
    }
}
