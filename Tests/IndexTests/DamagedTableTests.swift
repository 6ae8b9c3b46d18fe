import Glibc
import TestSupport
import Testing

@testable import Hashing
@testable import Index

@Suite struct DamagedTableTests {
    private let scratch = Scratch()
    private let table: String
    private let store: IndexStore
    private let healthy: Fingerprint
    private let sick: [Fingerprint]

    init() throws {
        var random = Seeded.fresh()
        store = try IndexStore(directory: scratch.index)
        let bytes = random.bytes(4096 * 300)
        let other = random.bytes(4096)
        table = try store.add(scratch.image("sick.raw", bytes), threads: 2).neighbour.tableFile
        _ = try store.add(scratch.image("healthy.raw", other), threads: 2)
        healthy = NaiveImage(other, block: 4096).fingerprints[0]
        sick = NaiveImage(bytes, block: 4096).fingerprints
    }

    private func expectSkipped(_ reason: String, check: TableCheck = .resident) throws {
        let index = try NeighbourIndex.open(directory: scratch.index, check: check)
        #expect(index.neighbours.map(\.name) == [scratch.path + "/healthy.raw"])
        #expect(index.problems.count == 1, "\(index.problems)")
        let problem = try #require(index.problems.first)
        #expect(problem.hasPrefix(table) && problem.contains(reason) && !problem.contains("\n"), "\(problem)")
        #expect(index.isGood(index.lookUp([healthy])[0], healthy))
        #expect(index.lookUp(sick).allSatisfy { $0 == nil })
        #expect(try store.verify() == index.problems)
    }

    @Test(arguments: [(20, "header"), (100, "header"), (230, "header"), (260, "name"), (256 + 40, "name")])
    func damageInWhatIsKeptInMemoryIsSeenAtOnce(place: (offset: Int, reason: String)) throws {
        scratch.damage(table, at: place.offset)
        try expectSkipped("damaged (\(place.reason))")
    }

    @Test(arguments: [(4096 + 16 * 200, "fingerprints")])
    func damageElsewhereIsSeenByAFullCheckAndHarmlessWithout(place: (offset: Int, reason: String)) throws {
        scratch.damage(table, at: place.offset)
        let unchecked = try NeighbourIndex.open(directory: scratch.index)
        let good = zip(unchecked.lookUp(sick), sick).count { unchecked.isGood($0, $1) }
        #expect(good == 299)
        try expectSkipped("damaged (\(place.reason))", check: .everything)
    }

    @Test(arguments: [0, 5, 100, 256, 4096, 5000, 8895])
    func aShortenedTableIsSkipped(size: Int) throws {
        truncate(table, off_t(size))
        try expectSkipped(size < 12 ? "not a nearblock table" : "wrong length")
    }

    @Test func aTableWithTrailingBytesIsSkipped() throws {
        truncate(table, off_t(scratch.contents(table).count + 1))
        try expectSkipped("wrong length")
    }

    @Test func aLaterTableIsSkipped() throws {
        scratch.overwrite(table, [9], at: 8)
        try expectSkipped("version 9")
    }

    @Test func aFileOfSomethingElseIsSkipped() throws {
        scratch.overwrite(table, Array("#!/bin/sh\nexit 1\n".utf8))
        try expectSkipped("not a nearblock table")
    }

    @Test func aTableUnderAnotherNameIsSkipped() throws {
        let copy = scratch.index + "/" + String(repeating: "0", count: 32) + ".table"
        let descriptor = open(copy, O_CREAT | O_WRONLY, 0o600)
        close(descriptor)
        scratch.overwrite(copy, scratch.contents(table))
        let index = try NeighbourIndex.open(directory: scratch.index)
        #expect(index.neighbours.count == 2)
        #expect(index.problems.count == 1 && index.problems[0].contains("sick.raw"))
    }

    @Test func aTableOfAnotherBlockSizeIsSkipped() throws {
        let other = Scratch()
        let image = scratch.path + "/sick.raw"
        let foreign = try IndexStore(directory: other.index, blockSize: 512).add(image, threads: 1)
        truncate(table, 0)
        scratch.overwrite(table, scratch.contents(foreign.neighbour.tableFile))
        try expectSkipped("blocks of 512 bytes")
    }

    @Test func aPipeOrADirectoryAmongTheTablesIsSkipped() throws {
        unlink(table)
        mkfifo(table, 0o600)
        try expectSkipped("not a nearblock table")
        unlink(table)
        mkdir(table, 0o700)
        try expectSkipped("not a nearblock table")
        rmdir(table)
    }

    @Test func aTableCutShortWhileOpenGivesMisses() throws {
        // Reading a mapped page that no longer exists must be reported and not crash.
        let index = try NeighbourIndex.open(directory: scratch.index)
        truncate(table, 4096)
        #expect(index.lookUp(sick).allSatisfy { $0 == nil })
        #expect(index.lookUp(Array(sick.reversed())).allSatisfy { $0 == nil })
        #expect(index.lookUp([healthy] + sick + [healthy]).count { $0 != nil } == 2)
        truncate(table, 0)
        #expect(index.lookUp(sick).allSatisfy { $0 == nil })
        #expect(index.isGood(index.lookUp([healthy])[0], healthy))
    }

    @Test func aCatalogueCutShortWhileOpenGivesMisses() throws {
        let index = try NeighbourIndex.open(directory: scratch.index)
        for file in try IndexDirectory(path: scratch.index).files() where file.hasSuffix(".catalogue") {
            truncate("\(scratch.index)/\(file)", 1)
        }
        #expect(index.lookUp(sick + [healthy]).allSatisfy { $0 == nil })
        #expect(index.candidates(prefix: healthy.high) == [])
    }

    @Test func addingTheImageAgainRepairsTheTable() throws {
        scratch.damage(table, at: 50)
        try expectSkipped("damaged")
        _ = try store.add(scratch.path + "/sick.raw", threads: 2)
        let index = try NeighbourIndex.open(directory: scratch.index)
        #expect(index.problems.isEmpty && index.lookUp(sick).allSatisfy { $0 != nil })
    }
}
