import BlockModel
import TestSupport
import Testing

@testable import Hashing
@testable import Index

/// Neighbours whose blocks begin where their partitions do.
@Suite("Tables with origins")
struct GridTableTests {
    private let scratch = Scratch()
    private let options = BuildOptions(threads: 2)

    /// A disk with the same partition at a sector, behind a boot sector and a gap.
    private func disk(_ partition: [UInt8], at sector: Int) -> [UInt8] {
        [UInt8](repeating: 1, count: 512) + [UInt8](repeating: 0, count: (sector - 1) * 512) + partition
    }

    private func store(_ sector: UInt64?) throws -> IndexStore {
        try IndexStore(directory: scratch.index, findPlaces: { _ in sector.map { [$0 * 512] } ?? [] })
    }

    @Test("The same partition at sectors 63 and 2048 -> every block of it is found; without origins none")
    func shifted() throws {
        var random = Seeded.fresh()
        let partition = mixedImage(&random, block: 4096, blocks: 500, tail: 1536)
        let image = scratch.image("old.raw", disk(partition, at: 63))
        let wanted = NaiveImage(partition, block: 4096).fingerprints
        let plain = try store(nil).add(image, options: options)
        var index = try NeighbourIndex.open(directory: scratch.index)
        let hits = index.lookUp(wanted).count { $0 != nil }
        #expect(hits == 0 && plain.neighbour.blocks == UInt64((63 * 512 + partition.count + 4095) / 4096))
        let store = try store(63)
        #expect(!store.isCurrent(image), "the table is that of an earlier release")
        #expect(try store.refresh(image, options: options) != nil)
        #expect(store.isCurrent(image))
        let silent = try IndexStore(directory: scratch.index, findPlaces: { _ in nil })
        #expect(try silent.origins(of: image) == nil)
        #expect(silent.isCurrent(image), "an unchanged image has the same partitions")
        _ = try silent.add(image, options: options)
        #expect(store.isCurrent(image), "the table has kept its origins")
        index = try NeighbourIndex.open(directory: scratch.index, check: .everything)
        #expect(index.problems.isEmpty && index.neighbours[0].size == UInt64(63 * 512 + partition.count))
        for (fingerprint, candidate) in zip(wanted, index.lookUp(wanted)) {
            #expect(fingerprint == .zero ? candidate == nil : index.isGood(candidate, fingerprint))
        }
        index.willFetch(index.lookUp(wanted))
        #expect(try store.verify() == [])
    }

    @Test("An updated table with origins equals a new one; other origins -> the table is to be made anew")
    func updated() throws {
        var random = Seeded.fresh()
        var bytes = disk(random.bytes(4096 * 300 + 700), at: 63)
        let image = scratch.image("a.raw", bytes)
        let store = try store(63)
        _ = try store.add(image, options: options)
        let geometry = try #require(
            BlockGeometry(size: UInt64(bytes.count), blockSize: 4096, origins: [63 * 512]))
        let map = DirtyMap(geometry: geometry)
        for _ in 0..<20 {
            let start = Int.random(in: 0..<bytes.count - 5000, using: &random)
            let new = random.bytes(Int.random(in: 1...5000, using: &random))
            bytes.replaceSubrange(start..<start + new.count, with: new)
            map.mark(offset: UInt64(start), length: UInt64(new.count))
        }
        scratch.overwrite(image, bytes)
        var cursor: UInt64 = 0
        let blocks = map.take(from: &cursor, limit: .max)
        #expect(throws: IndexError.self) { try store.update(image, blocks: blocks, options: options) }
        let summary = try store.update(image, blocks: blocks, origins: [63 * 512], options: options)
        let updated = scratch.contents(summary.neighbour.tableFile)
        let anew = scratch.contents(try store.add(image, options: options).neighbour.tableFile)
        #expect(updated[4096...] == anew[4096...])
        #expect(try store.verify() == [])
    }

    @Test("Damaged origins with right checksums -> the table is skipped and named")
    func damaged() throws {
        var random = Seeded.fresh()
        let image = scratch.image("a.raw", random.bytes(1 << 20))
        let store = try store(63)
        let path = try store.add(image, options: options).neighbour.tableFile
        let original = scratch.contents(path)
        let place = 256 + image.utf8.count + Neighbour.standardDomain.utf8.count
        #expect(original[place..<place + 8].elementsEqual([0, 0x7e, 0, 0, 0, 0, 0, 0]))
        for origin: [UInt8] in [
            [1, 0x7e, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0x10, 0, 0, 0, 0, 0],
            [0, 0xfe, 255, 255, 255, 255, 255, 255], [0, 0x80, 0, 0, 0, 0, 0, 0],
        ] {
            var bytes = original
            bytes.replaceSubrange(place..<place + 8, with: origin)
            let digest = bytes[256..<place + 8].withUnsafeBytes { BlockHasher().digest($0) }
            bytes.replaceSubrange(104..<136, with: digest)
            var header = Array(bytes[..<256])
            header.seal(from: 224)
            bytes.replaceSubrange(..<256, with: header)
            scratch.overwrite(path, bytes)
            let index = try NeighbourIndex.open(directory: scratch.index)
            #expect(index.neighbours.isEmpty && index.problems.contains { $0.contains("origins") }, "\(index.problems)")
        }
        for count: UInt32 in [0, 2, 129, .max] {
            var header = Array(original[..<256])
            header.put(count, at: 200)
            header.seal(from: 224)
            scratch.overwrite(path, header + original[256...])
            #expect(try NeighbourIndex.open(directory: scratch.index).neighbours.isEmpty, "\(count) origins")
        }
    }
}
