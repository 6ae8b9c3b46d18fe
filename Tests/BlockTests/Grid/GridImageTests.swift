import Foundation
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

/// An image with the offsets of a grid, against the same bytes put together by hand.
@Suite struct GridImageTests {
    private let scratch = Scratch()

    @Test func readsWritesAndHolesAreThoseOfTheDisk() throws {
        var random = Seeded.fresh()
        let size = 200_704
        let geometry = try #require(
            BlockGeometry(size: UInt64(size), blockSize: 4096, origins: [63 * 512, 130 * 512, 200 * 512]))
        var disk = random.bytes(size)
        let path = try scratch.write(disk, to: "disk.raw")
        let image = try RawImage(path: path, access: .readWrite)
        let grid = image.on(geometry)
        #expect(grid.size == geometry.size && grid.size > image.size)
        for _ in 0..<2000 {
            let start = Int.random(in: 0..<Int(grid.size), using: &random)
            let count = Int.random(in: 1...min(20_000, Int(grid.size) - start), using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let bytes = random.bytes(count)
                try bytes.withUnsafeBytes { try grid.write($0, at: UInt64(start)) }
                for place in 0..<count { if let byte = byte(start + place, geometry) { disk[byte] = bytes[place] } }
            case 1:
                try grid.punchHole(at: UInt64(start), length: UInt64(count))
                for place in 0..<count { if let byte = byte(start + place, geometry) { disk[byte] = 0 } }
            default:
                var bytes = [UInt8](repeating: 1, count: count)
                try bytes.withUnsafeMutableBytes { try grid.read(into: $0, at: UInt64(start)) }
                #expect(bytes == (0..<count).map { byte(start + $0, geometry).map { disk[$0] } ?? 0 })
            }
        }
        #expect(try Array(Data(contentsOf: URL(fileURLWithPath: path))) == disk)
    }

    /// The byte of the disk at a place of the grid; nil if that fills a section up.
    private func byte(_ place: Int, _ geometry: BlockGeometry) -> Int? {
        let block = UInt64(place / geometry.blockSize)
        let bytes = geometry.diskBytes(of: block..<block + 1)
        let within = UInt64(place % geometry.blockSize)
        return within < UInt64(bytes.count) ? Int(bytes.lowerBound + within) : nil
    }

    @Test func dataIsFoundInEachSectionAndNowhereElse() throws {
        let geometry = try #require(BlockGeometry(size: 1 << 20, blockSize: 4096, origins: [63 * 512, 1 << 19]))
        let image = try RawImage.create(path: scratch.file("holes.raw"), size: 1 << 20)
        try [UInt8](repeating: 7, count: 4096).withUnsafeBytes { try image.write($0, at: 1 << 19) }
        let grid = image.on(geometry)
        let data = try #require(try grid.nextData(from: 0))
        let first = geometry.blocks(touchingDisk: 1 << 19..<1 << 19 + 1).lowerBound
        #expect(geometry.blocks(touching: data).lowerBound == first)
        #expect(try grid.nextData(from: data.upperBound) == nil)
        #expect(try grid.nextData(from: geometry.size - 1) == nil)
    }
}
