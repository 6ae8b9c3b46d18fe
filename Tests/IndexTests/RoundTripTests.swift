import Glibc
import TestSupport
import Testing

@testable import Hashing
@testable import Index

@Suite struct RoundTripTests {
    @Test(arguments: [512, 4096, 65536], [1, 3])
    func everyBlockIsFoundAndFetched(block: Int, threads: Int) throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        // Large enough for two segments of the scan.
        let blocks = max(70, (3 << 19) / block)
        let bytes = mixedImage(&random, block: block, blocks: blocks, tail: block / 3)
        let image = scratch.image("a.raw", bytes)
        let store = try IndexStore(directory: scratch.index, blockSize: block)
        let summary = try store.add(image, threads: threads)
        let index = try NeighbourIndex.open(directory: scratch.index)
        let naive = NaiveImage(bytes, block: block)

        #expect(index.problems.isEmpty && index.blockSize == block)
        #expect(index.neighbours.map(\.stamp) == [summary.neighbour.stamp])
        let neighbour = index.neighbours[0]
        #expect(
            neighbour.name == image && neighbour.size == UInt64(bytes.count)
                && neighbour.blocks == UInt64(blocks + 1))
        #expect(neighbour.zero == UInt64(naive.fingerprints.count - naive.nonZero.count))
        #expect(neighbour.distinct == UInt64(Set(naive.nonZero).count))

        for (fingerprint, candidate) in zip(naive.fingerprints, index.lookUp(naive.fingerprints)) {
            guard fingerprint != .zero else {
                #expect(candidate == nil)
                continue
            }
            #expect(candidate.map { naive.fingerprints[Int($0.block)] } == fingerprint)
            #expect(index.isGood(candidate, fingerprint))
        }
        #expect(try store.verify() == [])
    }

    @Test func anImageOfHolesHasAnEmptyTable() throws {
        let scratch = Scratch()
        let image = scratch.image("a.raw", [UInt8](repeating: 0, count: 1 << 20))
        let summary = try IndexStore(directory: scratch.index).add(image, threads: 2)
        #expect(summary.neighbour.distinct == 0 && summary.neighbour.zero == 256 && summary.bytesRead == 0)
        let index = try NeighbourIndex.open(directory: scratch.index)
        #expect(index.lookUp([Fingerprint(high: 1, low: 1)]) == [nil] && index.problems.isEmpty, "\(index.problems)")
    }

    @Test func everyNeighbourOfASharedBlockIsACandidate() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let bytes = random.bytes(8192)
        let store = try IndexStore(directory: scratch.index)
        for name in ["a.raw", "b.raw"] { _ = try store.add(scratch.image(name, bytes), threads: 1) }
        let index = try NeighbourIndex.open(directory: scratch.index)
        let fingerprint = NaiveImage(bytes, block: 4096).fingerprints[1]
        #expect(
            Set(index.candidates(prefix: fingerprint.high)) == [
                .init(neighbour: 0, block: 1), .init(neighbour: 1, block: 1),
            ])
        #expect(index.lookUp([fingerprint]).map { $0?.block } == [1])
        let other = Fingerprint(high: fingerprint.high, low: ~fingerprint.low)
        #expect(index.lookUp([other]) == [nil])
        #expect(index.lookUp(prefixes: [other.high, 0]).map { $0?.block } == [1, nil])
    }

    @Test func progressOnlyGrowsAndEndsAtTheEnd() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let image = scratch.image("a.raw", mixedImage(&random, block: 4096, blocks: 2000, tail: 5))
        let reports = Reports()
        _ = try IndexStore(directory: scratch.index).add(image, threads: 2) { reports.add($0.done) }
        let all = reports.all
        #expect(all == all.sorted() && all.last == 2000 * 4096 + 5)
    }

    @Test func theScannerSkipsHolesAndPadsTheLastBlock() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        var bytes = [UInt8](repeating: 0, count: 3 << 20)
        bytes.replaceSubrange(5000..<5010, with: random.bytes(10))
        bytes += random.bytes(100)
        let source = try NeighbourImage.source(scratch.image("a.raw", bytes))
        let blocks = try BlockScanner(source: source, blockSize: 4096, options: BuildOptions(threads: 2))
            .scan(from: [UInt64: Fingerprint]()) { blocks, first, fingerprints in
                for (index, fingerprint) in fingerprints.enumerated() {
                    blocks[first + UInt64(index)] = fingerprint
                }
            }
            .reduce([:]) { $0.merging($1) { _, _ in fatalError("a block was visited twice") } }
        let naive = NaiveImage(bytes, block: 4096).fingerprints
        #expect(blocks.count < 100)
        #expect(naive.indices.allSatisfy { naive[$0] == blocks[UInt64($0), default: .zero] })
    }
}
