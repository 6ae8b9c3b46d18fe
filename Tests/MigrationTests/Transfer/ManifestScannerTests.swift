import Block
import Index
import NIOPosix
import TestSupport
import Testing

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore

@Suite("The scan of a whole disk")
struct ManifestScannerTests {
    private let scratch = Scratch()

    /// A sparse image of `blocks` of 4096 bytes and a bit, with data in some.
    private func image(blocks: Int, data: Set<Int>) throws -> RawImage {
        let image = try RawImage.create(path: "\(scratch.path)/disk.raw", size: UInt64(blocks) * 4096 + 100)
        for block in data.sorted() {
            let bytes = [UInt8](repeating: UInt8(block % 255 + 1), count: 4096)
            try bytes.withUnsafeBytes { try image.write($0, at: UInt64(block) * 4096) }
        }
        return image
    }

    /// Goes over it all, and says what it came to: the segments, each behind the one before.
    private func scan(
        _ image: RawImage, _ geometry: BlockGeometry, _ manifest: FingerprintFile, dirty: DirtyMap
    ) async throws -> [ScannedSegment] {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let scanner = try ManifestScanner(
            image: image, manifest: manifest, dirtyMap: dirty, pool: pool, compressibility: Compressibility())
        var segments: [ScannedSegment] = []
        var block: UInt64 = 0
        scanning: while true {
            switch try await scanner.step(from: block) {
            case .end: break scanning
            case .zeros(let blocks):
                #expect(blocks.lowerBound == block)
                block = blocks.upperBound
            case .segment(let segment):
                #expect(segment.manifest.first == block)
                #expect((1...scanner.segmentBlocks).contains(segment.manifest.entries.count))
                #expect(segment.fingerprints.count == segment.manifest.entries.count)
                segments.append(segment)
                block += UInt64(segment.manifest.entries.count)
            }
        }
        #expect(block == geometry.blockCount)
        try await pool.shutdownGracefully()
        return segments
    }

    @Test("Every block is told as what it is, wherever data and holes begin", arguments: [512, 4096, 16384, 65536])
    func everyBlock(blockSize: Int) async throws {
        var random = Seeded.fresh()
        let chances = [0.02, 0.3, 0.9]
        let stretches = (0..<40).flatMap { _ -> [Bool] in
            let chance = chances.randomElement(using: &random)!
            let isHole = Bool.random(using: &random)
            return (0..<Int.random(in: 1...500, using: &random)).map { _ in
                !isHole && .random(in: 0..<1, using: &random) < chance
            }
        }
        let image = try image(blocks: stretches.count, data: Set(stretches.indices.filter { stretches[$0] }))
        let geometry = try #require(BlockGeometry(size: image.size, blockSize: blockSize))
        let dirty = DirtyMap(geometry: geometry)
        for _ in 0..<20 {
            let block = UInt64.random(in: 0..<geometry.blockCount, using: &random)
            dirty.mark(blocks: block..<block + 1)
        }
        let manifest = try FingerprintFile(geometry: geometry, directory: scratch.path)
        let segments = try await scan(image, geometry, manifest, dirty: dirty)
        var told = [Fingerprint](repeating: .zero, count: Int(geometry.blockCount))
        for segment in segments {
            let blocks = Int(segment.manifest.first)..<Int(segment.manifest.first) + segment.fingerprints.count
            told.replaceSubrange(blocks, with: segment.fingerprints)
            for (block, (entry, fingerprint)) in zip(blocks, zip(segment.manifest.entries, segment.fingerprints)) {
                switch entry {
                case .zero: #expect(fingerprint == .zero)
                case .prefix(let prefix): #expect(prefix == fingerprint.high && fingerprint != .zero)
                case .later: #expect(dirty.isDirty(UInt64(block)))
                }
            }
            let zeros = zip(segment.manifest.first..., segment.manifest.entries).filter { $0.1 == .zero }
            #expect(segment.zeroBytes == zeros.reduce(0) { $0 + geometry.byteCount(of: $1.0..<$1.0 + 1) })
            let sampled = segment.samples.samples.flatMap(\.blocks)
            #expect(sampled.allSatisfy { (segment.manifest.first..<UInt64(blocks.upperBound)).contains($0) })
        }
        let reader = BlockReader(image: image, geometry: geometry, maximumBytes: blockSize)
        for block in 0..<geometry.blockCount {
            try reader.read(block..<block + 1)
            let expected = dirty.isDirty(block) ? .zero : reader.fingerprint(at: 0)
            #expect(told[Int(block)] == expected, "block \(block)")
        }
        #expect(try manifest.fingerprints(of: 0..<geometry.blockCount) == told)
    }

    @Test("Small holes don't make a segment of every block; large ones are in none")
    func fragmented() async throws {
        let image = try image(blocks: 40_000, data: Set(stride(from: 0, to: 20_000, by: 20)).union([39_000]))
        let geometry = try #require(BlockGeometry(size: image.size, blockSize: 4096))
        let segments = try await scan(
            image, geometry, FingerprintFile(geometry: geometry, directory: scratch.path),
            dirty: DirtyMap(geometry: geometry))
        #expect(segments.count == 20_000 / 1024 + 2)
        #expect(segments.last?.manifest.entries.count == 1)
    }
}
