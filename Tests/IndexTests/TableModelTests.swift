import Block
import Testing

@testable import Index

/// Tables of made-up fingerprints against a dictionary.
@Suite struct TableModelTests {
    private static let identity = ImageIdentity(device: 1, inode: 2, size: 3, modified: 4)

    /// Writes `model` as the table of a neighbour that does not exist.
    private func table(_ model: [Fingerprint: UInt64], in scratch: Scratch, imageSize: UInt64) throws -> Table {
        _ = try IndexStore(directory: scratch.index, blockSize: 512)
        let name = "/nowhere/image.raw"
        let entries = model.map { TableEntry(fingerprint: $0.key, number: $0.value) }.sorted()
        let header = TableHeader(
            blockSize: 512, imageSize: imageSize, zeroBlocks: 0, entryCount: UInt64(entries.count),
            nameLength: name.utf8.count, identity: Self.identity)
        // Uneven parts, empty ones among them, as the sorter makes them.
        let cut = entries.count / 3
        let parts = [[], Array(entries[..<cut]), [], Array(entries[cut...]), []]
        let file = IndexFileName.file(forNeighbour: name)
        let directory = IndexDirectory(path: scratch.index)
        try directory.replace(file) { try TableWriter.write(header, name: name, parts: parts, to: $0) }
        return try Table(path: directory.path(of: file), blockSize: 512, check: .everything)
    }

    private func check(_ table: Table, _ model: [Fingerprint: UInt64], _ questions: [Fingerprint]) {
        let sorted = questions.sorted()
        var answers = [UInt64?](repeating: nil, count: sorted.count)
        var search = TableSearch(table)
        search.run(sorted) { answers[$0] = $1 }
        #expect(zip(sorted, answers).allSatisfy { model[$0] == $1 })
    }

    @Test(arguments: [0, 1, 127, 128, 129, 256, 5000, 40000])
    func aTableAnswersLikeADictionary(count: Int) throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        var model: [Fingerprint: UInt64] = [:]
        for _ in 0..<count { model[fingerprint(&random)] = .random(in: 0..<1_000_000, using: &random) }
        let table = try table(model, in: scratch, imageSize: 512 * 1_000_000)
        #expect(table.header.entryCount == UInt64(model.count))
        for size in [1, 2, 10, 1000, 100_000] {
            let known = Array(model.keys.shuffled(using: &random).prefix(size))
            let unknown = (0..<size / 2).map { _ in fingerprint(&random) }
            let near = known.prefix(500).flatMap { [neighbour(of: $0, 1), neighbour(of: $0, -1)] }
            check(table, model, known + unknown + near + known.prefix(3))
        }
    }

    @Test func unevenFingerprintsAreFoundToo() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        var model: [Fingerprint: UInt64] = [:]
        // Groups of up to 100 share their first half and straddle chunks; everything lies at the two ends.
        for group in 0..<200 {
            let high = group % 2 == 0 ? UInt64(group) : .max - UInt64(group)
            for _ in 0..<Int.random(in: 1...100, using: &random) {
                model[Fingerprint(high: high, low: random.next())] = .random(in: 0..<1000, using: &random)
            }
        }
        let table = try table(model, in: scratch, imageSize: 512 * 100_000)
        check(table, model, Array(model.keys))
        for key in model.keys.prefix(2000) { check(table, model, [key]) }
        check(table, model, [.zero, Fingerprint(high: .max, low: .max), Fingerprint(high: 1 << 63, low: 0)])
    }

    @Test func blockNumbersBeyond32BitsAreKept() throws {
        let scratch = Scratch()
        let model = [Fingerprint(high: 1, low: 2): UInt64(0xabcd_1234_5678), Fingerprint(high: 3, low: 4): 7]
        let table = try table(model, in: scratch, imageSize: 512 << 48)
        #expect(table.header.blockWidth == 6)
        check(table, model, Array(model.keys))
    }

    @Test func aBlockOutsideTheImageIsAMiss() throws {
        let scratch = Scratch()
        let key = Fingerprint(high: 1, low: 2)
        check(try table([key: 10], in: scratch, imageSize: 512 * 10), [:], [key])
    }

    private func fingerprint(_ random: inout Seeded) -> Fingerprint {
        Fingerprint(high: random.next(), low: random.next())
    }

    private func neighbour(of fingerprint: Fingerprint, _ step: Int) -> Fingerprint {
        Fingerprint(high: fingerprint.high, low: fingerprint.low &+ UInt64(bitPattern: Int64(step)))
    }
}
