import Block
import Glibc
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Hashing
@testable import Index

/// Compares lookups in an index of imagined disks with what the disks have.
@Suite struct FingerprintIndexTests {
    private let scratch = Scratch()

    private func index(of disks: [ImaginedDisk], threads: Int = 2) throws -> FingerprintIndex {
        try FingerprintIndex(of: disks, directory: scratch.path, threads: threads)
    }

    private func fingerprints(_ count: Int, _ random: inout Seeded) -> [Fingerprint] {
        (0..<count).map { _ in Fingerprint(high: random.next(), low: random.next()) }
    }

    private func places(_ disk: Int, _ blocks: Range<UInt64>) -> [FingerprintIndex.Place?] {
        blocks.map { .init(disk: disk, block: $0) }
    }

    /// Checks that each answer is a block with the fingerprint, and that none is missing.
    private func check(
        _ index: FingerprintIndex, _ disks: [ImaginedDisk], _ known: Set<Fingerprint>, _ pages: [Fingerprint]
    ) {
        let wrong = zip(pages, index.lookUp(pages)).count { page, place in
            guard let place else { return known.contains(page) }
            return page == .zero || disks[place.disk][place.block] != page
        }
        #expect(wrong == 0)
    }

    @Test(arguments: [1, 2, 64, 129, 5000, 40000], [1, 3])
    func blocksAreFoundWhereverTheyStandAndOthersAreNot(count: Int, diskCount: Int) throws {
        var random = Seeded.fresh()
        var all: [[Fingerprint]] = []
        for _ in 0..<diskCount {
            var disk = fingerprints(count, &random)
            for block in disk.indices where block % 7 == 3 { disk[block] = .zero }
            // Repetitions within a disk, and runs that several disks have at different blocks.
            for _ in 0..<count / 10 {
                disk[.random(in: 0..<count, using: &random)] = disk[.random(in: 0..<count, using: &random)]
            }
            if let first = all.first { for block in 0..<count / 3 { disk[block + count / 5] = first[block] } }
            all.append(disk)
        }
        let disks = all.map { ImaginedDisk($0) }
        let index = try index(of: disks)
        let known = Set(all.joined()).subtracting([.zero])
        for size in [1, 2, 64, 1000, 5000] {
            let pages = Array(known.shuffled(using: &random).prefix(size)) + fingerprints(size, &random)
            check(index, disks, known, pages.shuffled(using: &random))
        }
        for disk in all {
            var pages = disk
            for _ in 0..<count / 20 { pages[.random(in: 0..<count, using: &random)] = fingerprints(1, &random)[0] }
            check(index, disks, known, pages)
        }
    }

    @Test func fingerprintsThatAgreeInTheirFirstHalvesAreToldApart() throws {
        var random = Seeded.fresh()
        let pages = (0..<9000).map { block in
            Fingerprint(high: UInt64(block / 20) << 47 | UInt64(block % 20), low: random.next() | 1)
        }
        let others = pages.map { Fingerprint(high: $0.high, low: $0.low &+ 1) }
        let disk = ImaginedDisk(pages)
        let index = try index(of: [disk])
        #expect(index.lookUp(others).allSatisfy { $0 == nil })
        check(index, [disk], Set(pages), pages)
    }

    @Test func zeroAndUnknownPagesAreNeverFound() throws {
        var random = Seeded.fresh()
        let known = fingerprints(3, &random)
        let index = try index(of: [ImaginedDisk([known[0], .zero, known[1], .unknown, known[2]])])
        let pages = [known[0], .zero, known[1], .unknown, known[2]]
        #expect(index.lookUp(pages).map { $0?.block } == [0, nil, 2, nil, 4])
    }

    @Test func disksWithoutBlocksAndNoDisksGiveMisses() throws {
        var random = Seeded.fresh()
        let pages = fingerprints(100, &random)
        for disks in [[], [ImaginedDisk([])], [ImaginedDisk([:], blocks: 1000), ImaginedDisk([])]] {
            #expect(try index(of: disks).lookUp(pages).allSatisfy { $0 == nil })
            #expect(try index(of: disks).lookUp([]).isEmpty)
        }
    }

    // MARK: Runs

    @Test func aRunOfPagesGetsARunOfBlocksEvenIfEachIsElsewhereToo() throws {
        var random = Seeded.fresh()
        let run = fingerprints(6, &random)
        // The catalogue lists the lowest of equal blocks, and these are alone or in another order.
        let strays = [run[0], .zero, run[2], run[1], .zero, run[4]]
        let index = try index(of: [ImaginedDisk(strays + fingerprints(100, &random) + run)])
        let pages = fingerprints(10, &random) + run + fingerprints(10, &random)
        let expected = [FingerprintIndex.Place?](repeating: nil, count: 10)
        #expect(index.lookUp(pages) == expected + places(0, 106..<112) + expected)
    }

    @Test func aRunStaysOnOneDiskIfAnotherHasOnlyAPart() throws {
        var random = Seeded.fresh()
        let run = fingerprints(300, &random)
        let index = try index(of: [
            ImaginedDisk(Array(run[..<2])), ImaginedDisk([.zero] + run), ImaginedDisk(Array(run[100...])),
        ])
        #expect(index.lookUp(run) == places(1, 1..<301))
    }

    @Test func aRunGoesOnAfterAPageThatHasChanged() throws {
        var random = Seeded.fresh()
        let run = fingerprints(6, &random)
        let index = try index(of: [ImaginedDisk([run[3], .zero, run[5], .zero] + run)])
        var pages = run
        pages[2] = fingerprints(1, &random)[0]
        pages[4] = .zero
        #expect(index.lookUp(pages).map { $0?.block } == [4, 5, nil, 7, nil, 9])
    }

    @Test func aBatchContinuesTheRunOfTheBatchBefore() throws {
        var random = Seeded.fresh()
        let run = fingerprints(20, &random)
        let index = try index(of: [ImaginedDisk(Array(run[10..<12]) + [.zero] + run)])
        let first = index.lookUp(Array(run[..<10]))
        #expect(index.lookUp(Array(run[10..<12])) == places(0, 0..<2))
        #expect(index.lookUp(Array(run[10..<12]), after: first.last!) == places(0, 13..<15))
        for wrong in [(0, UInt64(22)), (0, .max), (1, 0), (-1, 0)] {
            let place = FingerprintIndex.Place(disk: wrong.0, block: wrong.1)
            #expect(index.lookUp(Array(run[10..<12]), after: place) == places(0, 0..<2))
        }
    }

    @Test func aMissSeldomReadsAndARunReadsOnce() throws {
        var random = Seeded.fresh()
        let blocks = fingerprints(10_000, &random)
        let disk = ImaginedDisk(blocks)
        let index = try index(of: [disk])
        var before = disk.reads
        #expect(index.lookUp(fingerprints(10_000, &random)).allSatisfy { $0 == nil })
        // An entry has at least ten bits of its fingerprint, beyond those of its bucket of 64 to 128 entries.
        #expect(disk.reads - before < 10_000 / 6)
        before = disk.reads
        let pages = stride(from: 0, to: 9000, by: 100).flatMap { blocks[$0..<$0 + 6] }
        #expect(index.lookUp(pages).allSatisfy { $0 != nil })
        #expect(disk.reads - before < 90 * 5 / 4)
    }

    // MARK: Size

    @Test func aSparseDiskOf16TiBCostsAsMuchAsItsData() throws {
        var random = Seeded.fresh()
        let blocks = UInt64(1) << 32
        var data: [UInt64: Fingerprint] = [0: fingerprints(1, &random)[0], blocks - 1: fingerprints(1, &random)[0]]
        for _ in 0..<100 {
            let first = UInt64.random(in: 0..<blocks - 6, using: &random)
            for (place, fingerprint) in fingerprints(6, &random).enumerated() {
                data[first + UInt64(place)] = fingerprint
            }
        }
        let disk = ImaginedDisk(data, blocks: blocks)
        let index = try index(of: [disk])
        #expect(disk.reads <= 102)
        check(index, [disk], Set(data.values), Array(data.values))
        check(index, [disk], Set(data.values), data.sorted { $0.key < $1.key }.map(\.value))
    }

    @Test(arguments: [0, 1, 1000, 100_000]) func theStartsOfBucketsTakeASixteenthOfAByteForEachBlock(count: Int) throws
    {
        var random = Seeded.fresh()
        let catalogue = try #require(try index(of: [ImaginedDisk(fingerprints(count, &random))]).catalogue)
        #expect(catalogue.header.entryCount == UInt64(count))
        #expect((catalogue.header.bucketCount + 1) * MemoryLayout<UInt32>.size <= count / 16 + 8)
        #expect(catalogue.file.size <= UInt64(count * 8 + catalogue.header.bucketCount * 4 + 3 * 4096))
    }

    @Test func disksWithMoreBlocksThanAnEntryCanNumberAreRefused() throws {
        #expect(throws: IndexError.tooManyFingerprints) {
            try index(of: [ImaginedDisk([:], blocks: 1 << 48 + 1)])
        }
    }

    // MARK: Files

    @Test func noFileHasANameSoThatAKilledProcessLeavesNone() throws {
        var random = Seeded.fresh()
        let names = NIOLockedValueBox<[String]>([])
        let directory = IndexDirectory(path: scratch.path)
        let disk = ImaginedDisk(fingerprints(50_000, &random))
        var index: FingerprintIndex? = try FingerprintIndex(of: [disk], directory: scratch.path, threads: 2) {
            let files = (try? directory.files()) ?? ["?"]
            names.withLockedValue { $0 += files }
            return true
        }
        #expect(try Set(names.withLockedValue { $0 } + directory.files()) == [".", ".."])
        #expect(try mappings() == 1)
        index = nil
        _ = index
        #expect(try mappings() == 0)
    }

    /// Returns how many files of the test's directory this process has mapped or open.
    private func mappings() throws -> Int {
        let maps = try #require(fopen("/proc/self/maps", "r"))
        defer { fclose(maps) }
        var count = 0
        var line = [CChar](repeating: 0, count: 8192)
        while fgets(&line, CInt(line.count), maps) != nil {
            if strstr(line, scratch.path) != nil { count += 1 }
        }
        let open = IndexDirectory(path: "/proc/self/fd")
        for file in try open.files() {
            let length = readlink(open.path(of: file), &line, line.count - 1)
            line[max(0, length)] = 0
            if strstr(line, scratch.path) != nil { count += 1 }
        }
        return count
    }

    @Test(arguments: [0, 1, 5, 200]) func aBuildThatIsNoLongerWantedEnds(questions: Int) throws {
        var random = Seeded.fresh()
        let left = NIOLockedValueBox(questions)
        let disk = ImaginedDisk(fingerprints(50_000, &random))
        #expect(throws: CancellationError.self) {
            try FingerprintIndex(of: [disk], directory: scratch.path, threads: 2) {
                // Only one thread hears of it; the others must not wait for its part.
                left.withLockedValue { left in
                    left -= 1
                    return left != -1
                }
            }
        }
        if questions == 0 { #expect(disk.reads <= 3) }
        #expect(try mappings() == 0)
    }

    @Test func aDirectoryThatIsMissingAndADiskThatCannotBeReadAreErrors() throws {
        var random = Seeded.fresh()
        let disk = ImaginedDisk(fingerprints(100, &random))
        #expect(throws: FileError.self) { try FingerprintIndex(of: [disk], directory: "/nowhere", threads: 1) }
        disk.isBroken = true
        #expect(throws: FileError("read", "an imagined disk", code: EIO)) { try index(of: [disk]) }
    }

    // MARK: Changes

    @Test func changedBlocksAndUnreadableDisksAreMisses() throws {
        var random = Seeded.fresh()
        let (pages, others) = (fingerprints(100, &random), fingerprints(50, &random))
        let disks = [ImaginedDisk(pages), ImaginedDisk(others)]
        let index = try index(of: disks)
        for block in 10..<20 { disks[0][UInt64(block)] = others[block] }
        #expect(index.lookUp(pages).map { $0 != nil } == pages.indices.map { !(10..<20).contains($0) })
        disks[0].isBroken = true
        #expect(index.lookUp(pages).allSatisfy { $0 == nil })
        #expect(index.lookUp(others) == places(1, 0..<50))
    }

    @Test func whatAFailedReadLeavesInTheBufferIsNoAnswer() throws {
        var random = Seeded.fresh()
        let (pages, others) = (fingerprints(50, &random), fingerprints(50, &random))
        let disks = [ImaginedDisk(pages), ImaginedDisk(others)]
        let index = try index(of: disks)
        disks[1].isBroken = true
        // The third page stands in the buffer where the first one's run would go on.
        #expect(index.lookUp([pages[0], others[3], others[2]]) == [.init(disk: 0, block: 0), nil, nil])
    }

    @Test func aFileThatIsCutOrDamagedGivesMisses() throws {
        var random = Seeded.fresh()
        let pages = fingerprints(20_000, &random)
        // Three disks, so that a damaged entry may name a fourth.
        let disks = [ImaginedDisk(pages), ImaginedDisk(Array(pages[..<100])), ImaginedDisk([])]
        let directory = IndexDirectory(path: scratch.path)
        let file = try ScratchFile(in: directory)
        let index = try FingerprintIndex(of: disks, in: directory, file: file, threads: 2)
        let entries = try #require(index.catalogue?.header.entriesRange)
        for _ in 0..<50 {
            try random.bytes(5000).withUnsafeBytes {
                try file.write($0, at: .random(in: entries.lowerBound..<entries.upperBound - 5000, using: &random))
            }
            for (page, place) in zip(pages, index.lookUp(pages)) {
                if let place { #expect(disks[place.disk][place.block] == page) }
            }
        }
        try file.setSize(entries.lowerBound + 8192)
        #expect(index.lookUp(pages.shuffled(using: &random)).contains { $0 == nil })
        try file.setSize(0)
        #expect(index.lookUp(pages).allSatisfy { $0 == nil })
    }

    @Test func anyNumberOfThreadsMayLookUpWhileADiskChanges() async throws {
        var random = Seeded.fresh()
        let (pages, others) = (fingerprints(20_000, &random), fingerprints(20_000, &random))
        let disk = ImaginedDisk(pages)
        let index = try index(of: [disk])
        try await onThreads(4) { thread in
            for round in 0..<10 {
                let start = (thread * 5000 + round * 97) % 15_000
                if thread == 0 {
                    for block in start..<start + 1000 { disk[UInt64(block)] = others[block] }
                    continue
                }
                let part = Array(pages[start..<start + 5000])
                for (offset, place) in index.lookUp(part).enumerated() {
                    #expect(place == nil || place?.block == UInt64(start + offset))
                }
            }
        }
    }
}
