import Foundation
import TestSupport
import Testing

@testable import Index

@Suite struct SimilarityTests {
    @Test(arguments: [512, 4096], [1, 2])
    func theFiguresAreThoseOfTheObviousWay(block: Int, threads: Int) throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let store = try IndexStore(directory: scratch.index, blockSize: block)
        let pool = (0..<50).map { _ in random.bytes(block) }
        let images = (0..<4).map { _ in mixedImage(&random, block: block, blocks: 500, tail: 10, pool: pool) }
        let paths = images.enumerated().map { scratch.image("\($0.offset).raw", $0.element) }
        for path in paths.dropFirst() { _ = try store.add(path, threads: threads) }
        let index = try NeighbourIndex.open(directory: scratch.index)

        // The last image is in the index, the first is not.
        for subject in [0, 3] {
            let measured = try Similarity.measure(
                image: paths[subject], index: index, options: BuildOptions(threads: threads))
            let mine = NaiveImage(images[subject], block: block)
            let theirs = images.dropFirst().map { Set(NaiveImage($0, block: block).nonZero) }
            let all = theirs.reduce(Set()) { $0.union($1) }
            #expect(measured.block == block && measured.blocks == UInt64(mine.fingerprints.count))
            #expect(measured.zero == UInt64(mine.fingerprints.count - mine.nonZero.count))
            #expect(measured.distinct == UInt64(Set(mine.nonZero).count))
            #expect(measured.found == UInt64(mine.nonZero.count { all.contains($0) }))
            #expect(measured.neighbours.map(\.name) == Array(paths.dropFirst()))
            #expect(
                measured.neighbours.map(\.found)
                    == theirs.map { set in UInt64(mine.nonZero.count { set.contains($0) }) })
        }
    }

    @Test func theJSONHasTheFieldsOfTheInterface() throws {
        let scratch = Scratch()
        let image = scratch.image("a.raw", [UInt8](repeating: 1, count: 8192))
        _ = try IndexStore(directory: scratch.index).add(image, threads: 1)
        let index = try NeighbourIndex.open(directory: scratch.index)
        let similarity = try Similarity.measure(image: image, index: index, options: BuildOptions(threads: 1))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json = String(decoding: try encoder.encode(similarity), as: UTF8.self)
        #expect(
            json == """
                {"block":4096,"blocks":2,"distinct":1,"found":2,"neighbours":[{"found":2,"name":"\(image)"}],"zero":0}
                """)
    }
}
