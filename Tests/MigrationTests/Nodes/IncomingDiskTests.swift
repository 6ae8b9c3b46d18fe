import Block
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationProtocol

@Suite("The image of an arriving disk")
struct IncomingDiskTests {
    private let scratch = Scratch()
    private let shared = SharedBlocks()

    private func disk(
        on image: RawImage, _ geometry: BlockGeometry, hasBase: Bool = false, isBlank: Bool = true
    ) throws -> IncomingDisk {
        try IncomingDisk(
            image: image, hasBase: hasBase, isBlank: isBlank, geometry: geometry, index: nil,
            shared: shared.join(image, geometry, domains: []), manifestPath: scratch.file("manifest"))
    }

    @Test(
        "Invariant 12: blocks are made zero -> only these are, whatever the image held of them",
        arguments: [(false, true), (true, false), (false, false)])
    func clear(hasBase: Bool, isBlank: Bool) throws {
        var random = Seeded.fresh()
        let geometry = try #require(BlockGeometry(size: 200 * 512 - 100, blockSize: 512))
        var model = isBlank ? [UInt8](repeating: 0, count: Int(geometry.size)) : random.bytes(Int(geometry.size))
        let image = try RawImage(path: scratch.write(model, to: "disk.raw"), access: .readWrite)
        let disk = try disk(on: image, geometry, hasBase: hasBase, isBlank: isBlank)
        let compressor = try StreamCompressor(level: 3)
        var present = Set<UInt64>()
        for step in 0..<300 {
            let first = UInt64.random(in: 0..<200, using: &random)
            let blocks = first..<UInt64.random(in: first...200, using: &random)
            let bytes = geometry.bytes(of: blocks)
            let range = Int(bytes.lowerBound)..<Int(bytes.upperBound)
            // Nothing is forgotten in the first steps: the image is then known by its map.
            switch Int.random(in: 0..<(step < 150 ? 2 : 3), using: &random) {
            case 0 where !blocks.isEmpty:
                let data = random.bytes(range.count)
                let piece = try data.withUnsafeBytes { try compressor.compress($0, level: 3) }
                try disk.store(
                    DataSegment(runs: [BlockRange(blocks)], compressed: piece), byteCount: range.count)
                model.replaceSubrange(range, with: data)
                present.formUnion(blocks)
            case 2:
                try disk.markDirty([blocks])
                present.subtract(blocks)
            default:
                try disk.clear(blocks)
                model.replaceSubrange(range, with: repeatElement(0, count: range.count))
                present.formUnion(blocks)
            }
            #expect(Set(disk.present.presentRuns(in: 0..<200).joined()) == present)
            // Bytes would be printed one by one.
            let isSame = try scratch.contents("disk.raw") == model
            try #require(isSame, "step \(step), \(blocks)")
        }
    }

    @Test("Zeros for blocks that were named as written again -> their old bytes are gone")
    func clearForgotten() throws {
        let geometry = try #require(BlockGeometry(size: 8 * 512, blockSize: 512))
        let image = try RawImage.create(path: scratch.file("disk.raw"), size: geometry.size)
        let disk = try disk(on: image, geometry)
        let data = [UInt8](repeating: 7, count: 2 * 512)
        let piece = try data.withUnsafeBytes { try StreamCompressor(level: 3).compress($0, level: 3) }
        let blocks = BlockRange(first: 3, count: 2)
        try disk.store(DataSegment(runs: [blocks], compressed: piece), byteCount: data.count)
        try disk.markDirty([3..<5])
        try disk.clear(0..<8)
        let isZero = try scratch.contents("disk.raw").allSatisfy { $0 == 0 }
        #expect(isZero)
    }

    @Test(
        "A short message for 2^30 blocks of zeros -> looked at by words of the map, not block by block",
        .timeLimit(.minutes(1)))
    func clearMany() throws {
        let geometry = try #require(BlockGeometry(size: 512 << 30, blockSize: 512))
        let image = try RawImage.create(path: scratch.file("disk.raw"), size: geometry.size)
        let disk = try disk(on: image, geometry)
        try disk.empty(0..<geometry.blockCount)
        #expect(disk.isWhole)
        var status = stat()
        #expect(stat(image.path, &status) == 0 && status.st_blocks < 1000, "it stays a hole")
    }
}
