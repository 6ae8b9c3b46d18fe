import Block
import TestSupport
import Testing

@testable import Hashing
@testable import Index

/// Compares catalogues of generated fingerprints with dictionaries.
@Suite struct CatalogueModelTests {
    /// Fingerprints of the blocks of an imagined disk.
    private func makeTable(_ name: String, _ fingerprints: [UInt64: Fingerprint], blocks: UInt64, in scratch: Scratch)
        throws
    {
        _ = try IndexStore(directory: scratch.index, blockSize: 512)
        let name = "/nowhere/" + name
        var header = TableHeader(
            blockSize: 512, imageSize: blocks * 512, nameLength: name.utf8.count, domainLength: 1,
            stamp: ImageStamp(device: 1, inode: 2, size: 3, modified: 4))
        header.zeroBlocks = blocks - UInt64(fingerprints.count)
        let directory = IndexDirectory(path: scratch.index)
        let file = try directory.temporary(for: IndexFileName.file(forNeighbour: name))
        try file.setSize(header.fileSize)
        for (block, fingerprint) in fingerprints {
            var bytes = [UInt8](repeating: 0, count: 16)
            bytes.withUnsafeMutableBytes { fingerprint.store(into: $0) }
            try bytes.withUnsafeBytes {
                try file.write($0, at: header.fingerprintsRange.lowerBound + block * 16)
            }
        }
        let names = Array((name + "x").utf8)
        header.nameDigest = names.withUnsafeBytes { BlockHasher().digest($0) }
        try names.withUnsafeBytes { try file.write($0, at: header.nameRange.lowerBound) }
        header.fingerprintsDigest = try TableDigest.compute(file.reopened(), header.fingerprintsRange, threads: 1)
        try header.encode().withUnsafeBytes { try file.write($0, at: 0) }
        try directory.publish([file])
    }

    /// Checks that each answer is a block with the fingerprint, and that none is missing.
    private func check(_ index: NeighbourIndex, _ models: [[UInt64: Fingerprint]], _ questions: [Fingerprint]) {
        let known = Set(models.flatMap(\.values))
        let wrong = zip(questions, index.lookUp(questions)).count { question, answer in
            guard let answer else { return known.contains(question) }
            return models[answer.neighbour][answer.block] != question
        }
        #expect(wrong == 0)
    }

    @Test(arguments: [0, 1, 63, 64, 129, 5000, 40000], [1, 3])
    func lookUpsAnswerLikeDictionaries(count: Int, tables: Int) throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        var models: [[UInt64: Fingerprint]] = []
        for table in 0..<tables {
            var model: [UInt64: Fingerprint] = [:]
            for block in 0..<UInt64(count) where block % 7 != 3 { model[block] = fingerprint(&random) }
            // Runs that several tables have at different blocks.
            if let first = models.first {
                for block in 0..<UInt64(count / 3) { model[block + UInt64(count / 5)] = first[block] }
            }
            try makeTable("\(table)", model, blocks: UInt64(max(1, count)), in: scratch)
            models.append(model)
        }
        try IndexStore(directory: scratch.index).merge(threads: 2)
        let index = try NeighbourIndex.open(directory: scratch.index, check: .everything)
        #expect(index.problems.isEmpty && index.neighbours.count == tables)
        let all = models.flatMap(\.values)
        for size in [1, 2, 31, 32, 1000, 5000] {
            let known = Array(all.shuffled(using: &random).prefix(size))
            let unknown = (0..<size / 2).map { _ in fingerprint(&random) }
            let near = known.prefix(500).flatMap { [neighbour(of: $0, 1), neighbour(of: $0, -1)] }
            check(index, models, known)
            check(index, models, (known + unknown + near + known.prefix(3)).shuffled(using: &random))
        }
        // Look up in the order of the disk, with some changed blocks.
        for model in models {
            var questions = (0..<UInt64(count)).map { model[$0] ?? .zero }
            for _ in 0..<count / 20 { questions[.random(in: 0..<count, using: &random)] = fingerprint(&random) }
            check(index, models, questions)
            let places = index.lookUp(questions)
            #expect(zip(questions, places).allSatisfy { $0 != .zero || $1 == nil })
        }
    }

    @Test func everyNeighbourThatHasABlockIsACandidate() throws {
        let scratch = Scratch()
        let shared = Fingerprint(high: 77 << 40, low: 5)
        for table in 0..<300 { try makeTable("\(table)", [UInt64(table): shared], blocks: 300, in: scratch) }
        try IndexStore(directory: scratch.index).merge(threads: 2)
        let index = try NeighbourIndex.open(directory: scratch.index)
        let places = index.neighbours.enumerated().map {
            Candidate(neighbour: $0.offset, block: UInt64($0.element.name.dropFirst(9))!)
        }
        #expect(Set(index.candidates(prefix: shared.high)) == Set(places))
        #expect(index.lookUp([shared]) != [nil])
    }

    @Test func unevenFingerprintsAreFoundToo() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        var model: [UInt64: Fingerprint] = [:]
        // Put all fingerprints into few buckets; groups of twenty agree in all the bits that a catalogue stores.
        for block in 0..<UInt64(9000) {
            let high = (block / 20) << 47 | block % 20
            model[block] = Fingerprint(high: block / 20 % 2 == 0 ? high : .max - high, low: random.next())
        }
        try makeTable("a", model, blocks: 9000, in: scratch)
        try IndexStore(directory: scratch.index).merge(threads: 2)
        let index = try NeighbourIndex.open(directory: scratch.index)
        check(index, [model], Array(model.values))
        #expect(index.lookUp([.zero, Fingerprint(high: .max, low: 1)]) == [nil, nil])
    }

    @Test func blockNumbersBeyond32BitsAreKept() throws {
        let scratch = Scratch()
        let model = [UInt64(0x2_1234_5678): Fingerprint(high: 1 << 60, low: 2), 7: Fingerprint(high: 3, low: 4)]
        try makeTable("a", model, blocks: 1 << 34, in: scratch)
        try IndexStore(directory: scratch.index).merge(threads: 2)
        let index = try NeighbourIndex.open(directory: scratch.index, check: .everything)
        #expect(index.neighbours[0].tableBytes < 1 << 20)
        check(index, [model], Array(model.values))
    }

    @Test func entriesBeyondMemoryAreSortedThroughTheScratchFile() throws {
        // Use more entries than a thread's partitions hold, so that they go through the scratch file.
        let scratch = Scratch()
        var random = Seeded.fresh()
        let directory = IndexDirectory(path: scratch.index)
        _ = try IndexStore(directory: scratch.index)
        var partitioner = EntryPartitioner(scratch: try ScratchFile(in: directory), bits: 12)
        let entries = (0..<30_000).map {
            CatalogueEntry(high: random.next() >> 6, table: $0 % 3, block: UInt64($0))
        }
        for entry in entries { try partitioner.append(entry) }
        var all: [CatalogueEntry] = []
        for partition in 0..<4096 where partitioner.count(ofPartition: partition) > 0 {
            let count = partitioner.count(ofPartition: partition)
            let copy = UnsafeMutableBufferPointer<CatalogueEntry>.allocate(capacity: count)
            try partitioner.copy(partition: partition, to: copy)
            all += EntrySort.sorted(copy, sharing: 12)
            copy.deallocate()
        }
        #expect(all == entries.sorted())
    }

    @Test(arguments: [0, 1, 2, 64, 65, 1000, 20_000]) func sortedEntriesAscend(count: Int) {
        var random = Seeded.fresh()
        for spread in [UInt64(0), 3, 100, .max] {
            var entries = (0..<count).map {
                CatalogueEntry(high: .random(in: 0...spread, using: &random), table: $0 % 5, block: UInt64($0 % 7))
            }
            let expected = entries.sorted()
            #expect(entries.withUnsafeMutableBufferPointer { EntrySort.sorted($0, sharing: 0) } == expected)
        }
    }

    private func fingerprint(_ random: inout Seeded) -> Fingerprint {
        Fingerprint(high: random.next(), low: random.next())
    }

    private func neighbour(of fingerprint: Fingerprint, _ step: Int) -> Fingerprint {
        Fingerprint(high: fingerprint.high, low: fingerprint.low &+ UInt64(bitPattern: Int64(step)))
    }
}
