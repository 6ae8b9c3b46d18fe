import Foundation
import Glibc
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Index

/// Updates of tables from a list of changed blocks.
@Suite struct UpdateTests {
    @Test(arguments: [512, 4096]) func anUpdatedTableEqualsANewOne(block: Int) throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        var bytes = mixedImage(&random, block: block, blocks: 700, tail: 100)
        let image = scratch.image("a.raw", bytes)
        let store = try IndexStore(directory: scratch.index, blockSize: block)
        _ = try store.add(image, threads: 2)
        for _ in 0..<5 {
            var changed: Set<UInt64> = []
            for _ in 0..<30 {
                let number = Int.random(in: 0...700, using: &random)
                let start = number * block
                let count = min(block, bytes.count - start)
                let new: [UInt8] =
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: [UInt8](repeating: 0, count: count)
                    case 1: Array(bytes[0..<count])
                    default: random.bytes(count)
                    }
                bytes.replaceSubrange(start..<start + count, with: new)
                changed.insert(UInt64(number))
            }
            scratch.overwrite(image, bytes)
            // Repeated, unchanged and out-of-range blocks are harmless.
            let named = changed.sorted() + [3, 1 << 40] + changed
            let summary = try store.update(image, blocks: named, options: BuildOptions(threads: 2))
            #expect(summary.bytesRead == UInt64(changed.union([3]).count * block))
            let naive = NaiveImage(bytes, block: block)
            let neighbour = try NeighbourIndex.open(directory: scratch.index, check: .everything).neighbours[0]
            #expect(neighbour.zero == UInt64(naive.fingerprints.count - naive.nonZero.count))
            #expect(neighbour.distinct == UInt64(Set(naive.nonZero).count))
            let index = try NeighbourIndex.open(directory: scratch.index)
            for (fingerprint, candidate) in zip(naive.fingerprints, index.lookUp(naive.fingerprints)) {
                #expect(fingerprint == .zero ? candidate == nil : index.isGood(candidate, fingerprint))
            }
        }
        #expect(store.isCurrent(image))
        scratch.damage(image, at: 3)
        #expect(!store.isCurrent(image))
    }

    @Test func aTableThatLostAFingerprintIsUpdated() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let bytes = random.bytes(4096 * 300)
        let image = scratch.image("a.raw", bytes)
        let store = try IndexStore(directory: scratch.index)
        let table = try store.add(image, threads: 1).neighbour.tableFile
        // The file's count says that no block is zero.
        scratch.overwrite(table, [UInt8](repeating: 0, count: 32), at: 4096 + 16 * 200)
        _ = try store.update(image, blocks: [200], options: BuildOptions(threads: 1))
        let neighbour = try NeighbourIndex.open(directory: scratch.index).neighbours[0]
        #expect(neighbour.zero == 1)
    }

    /// A node that is told to end waits for its update.
    @Test func anUpdateEndsWhereverItIsInterrupted() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let old = random.bytes(4096 * 64)
        let image = scratch.image("a.raw", old)
        let store = try IndexStore(directory: scratch.index)
        _ = try store.add(image, threads: 1)
        scratch.overwrite(image, random.bytes(4096 * 64))
        var looks = 0
        while looks < 1000 {
            let left = NIOLockedValueBox(looks)
            var options = BuildOptions(threads: 1)
            options.isWanted = {
                left.withLockedValue {
                    $0 -= 1
                    return $0 >= 0
                }
            }
            do {
                _ = try store.update(image, blocks: Array(0..<64), options: options)
                break
            } catch is CancellationError {}
            #expect(try store.verify().isEmpty)
            let found = try NeighbourIndex.open(directory: scratch.index).lookUp(
                NaiveImage(old, block: 4096).fingerprints)
            #expect(found.allSatisfy { $0 != nil }, "interrupted at look \(looks)")
            let files = try FileManager.default.contentsOfDirectory(atPath: scratch.index)
            #expect(!files.contains(where: IndexFileName.isTemporary), "\(files)")
            looks += 1
        }
        // It looks before each block, and then in the other steps.
        #expect((65..<1000).contains(looks), "\(looks)")
    }

    @Test func anImageWithoutATableCantBeUpdated() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(8192))
        #expect(throws: IndexError.self) { try store.update(image, blocks: [0], options: BuildOptions(threads: 1)) }
        _ = try store.add(image, threads: 1)
        scratch.image("a.raw", random.bytes(12288))
        #expect(throws: IndexError.self) { try store.update(image, blocks: [0], options: BuildOptions(threads: 1)) }
    }
}
