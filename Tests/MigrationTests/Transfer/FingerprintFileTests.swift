import Block
import Foundation
import Index
import TestSupport
import Testing

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

@Suite("The manifest of a whole disk and its root")
struct FingerprintFileTests {
    private func fingerprint(_ random: inout Seeded) -> Fingerprint {
        Fingerprint(high: random.next() | 1, low: random.next())
    }

    @Test("Invariant 8: the root says what the blocks are, however they came to be noted")
    func rootIsOfContents() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let geometry = BlockGeometry(size: 4096 * 10_000 + 5, blockSize: 4096)!
        var model = [Fingerprint](repeating: .zero, count: Int(geometry.blockCount))
        let stepwise = try FingerprintFile(geometry: geometry, directory: scratch.path)
        for step in 0..<300 {
            let first = Int.random(in: 0..<model.count, using: &random)
            let count = min(model.count - first, Int.random(in: 1...300, using: &random))
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                for block in first..<first + count { model[block] = .zero }
                try stepwise.setZero(UInt64(first)..<UInt64(first + count))
            case 1:
                // In any order, and over each other.
                let runs = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                    let start = Int.random(in: 0..<model.count, using: &random)
                    return start..<min(model.count, start + Int.random(in: 1...6000, using: &random) / 100 + 1)
                }
                for run in runs { for block in run { model[block] = .zero } }
                try stepwise.setZero(runs.map { UInt64($0.lowerBound)..<UInt64($0.upperBound) })
            default:
                for block in first..<first + count { model[block] = fingerprint(&random) }
                try stepwise.set(model[first..<first + count], from: UInt64(first))
            }
            if step % 50 == 0 { try stepwise.refresh() }
        }
        let atOnce = try FingerprintFile(geometry: geometry, directory: scratch.path)
        try atOnce.set(model[...], from: 0)
        #expect(try stepwise.root() == atOnce.root())

        let block = Int.random(in: 0..<model.count, using: &random)
        try atOnce.set([fingerprint(&random)], from: UInt64(block))
        #expect(try stepwise.root() != atOnce.root(), "block \(block) has changed")
    }

    @Test("An index of manifests finds their blocks, and reads only the parts that have any")
    func indexed() throws {
        var random = Seeded.fresh()
        let scratch = Scratch()
        // One disk is far larger than its contents, and the other ends within a segment.
        let sizes: [UInt64] = [1 << 44, 4096 * 10_000 + 5]
        let manifests = try sizes.map {
            try FingerprintFile(geometry: BlockGeometry(size: $0, blockSize: 4096)!, directory: scratch.path)
        }
        var places: [Fingerprint: FingerprintIndex.Place] = [:]
        for (disk, manifest) in manifests.enumerated() {
            for first in [0, 4095, 9000, manifest.blockCount - 7] {
                let run = (0..<7).map { _ in fingerprint(&random) }
                try manifest.set(run[...], from: first)
                for (offset, fingerprint) in run.enumerated() {
                    places[fingerprint] = .init(disk: disk, block: first + UInt64(offset))
                }
            }
        }
        #expect(manifests.map(\.dataBlocksLimit) == [4 * 4096, 10_001])
        let last = manifests[0].blockCount - 4096..<manifests[0].blockCount
        #expect(manifests[0].nextData(from: 4096 * 3) == last)
        #expect(manifests[1].nextData(from: 9005) == 9005..<10_001)
        let index = try FingerprintIndex(of: manifests, directory: scratch.path, threads: 2)
        let pages = places.keys + [.zero, fingerprint(&random)]
        #expect(index.lookUp(pages) == pages.map { places[$0] })
        try manifests[1].setZero(9000..<9007)
        let gone = pages.filter { places[$0]?.disk == 1 && (9000..<9007).contains(places[$0]!.block) }
        #expect(gone.count == 7 && index.lookUp(gone).allSatisfy { $0 == nil })
    }

    @Test("What is missing counts once, however often it was said before")
    func without() throws {
        var random = Seeded.fresh()
        let scratch = Scratch()
        let geometry = BlockGeometry(size: 100_000 << 12, blockSize: 4096)!
        let fingerprints = (0..<geometry.blockCount).map { _ in
            Fingerprint(high: .random(in: 1...9, using: &random), low: .random(in: 1...9, using: &random))
        }
        func file() throws -> FingerprintFile {
            let file = try FingerprintFile(geometry: geometry, directory: scratch.path)
            try file.set(fingerprints[...], from: 0)
            return file
        }
        let (few, many) = ([5..<6, 70_000..<70_001] as [Range<UInt64>], [0..<9, 60_000..<80_000] as [Range<UInt64>])
        let stepwise = try file()
        let first = try stepwise.root(without: few)
        #expect(try first == file().root(without: few))
        #expect(try stepwise.root(without: many) == file().root(without: many))
        #expect(try first != file().root())
        #expect(try first != file().root(without: many))
    }

    @Test("Disks of zeros have the same root only where size and block size are the same")
    func sizeCounts() throws {
        let scratch = Scratch()
        func root(_ size: UInt64, _ blockSize: Int) throws -> DiskRoot {
            let geometry = BlockGeometry(size: size, blockSize: blockSize)!
            return try FingerprintFile(geometry: geometry, directory: scratch.path).root()
        }
        #expect(try root(8192, 4096) == root(8192, 4096))
        #expect(try root(8192, 4096) != root(8191, 4096))
        #expect(try root(8192, 4096) != root(8192, 512))
    }

    @Test("Invariant 12: the manifest of a sparse disk is sparse, and leaves nothing behind")
    func sparse() throws {
        let scratch = Scratch()
        let geometry = BlockGeometry(size: 1 << 42, blockSize: 4096)!
        let file = try FingerprintFile(geometry: geometry, directory: scratch.path)
        try file.setZero(0..<geometry.blockCount)
        try file.set([Fingerprint(high: 1, low: 1)], from: geometry.blockCount - 1)
        _ = try file.root()
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
    }
}
