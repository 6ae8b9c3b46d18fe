import Glibc
import TestSupport
import Testing

@testable import Hashing
@testable import Index

/// Invariant 4: any change of a neighbour is a miss, never an error and never wrong data.
@Suite struct ChangedNeighbourTests {
    private let scratch = Scratch()
    private let image: String
    private let index: NeighbourIndex
    private let fingerprints: [Fingerprint]
    private var random = Seeded.fresh()

    init() throws {
        let bytes = random.bytes(4096 * 4)
        image = scratch.image("a.raw", bytes)
        _ = try IndexStore(directory: scratch.index).add(image, threads: 1)
        index = try NeighbourIndex.open(directory: scratch.index)
        fingerprints = NaiveImage(bytes, block: 4096).fingerprints
    }

    private func good() -> [Bool] {
        zip(index.lookUp(fingerprints), fingerprints).map { index.isGood($0, $1) }
    }

    @Test(arguments: [false, true]) func aBlockWrittenSinceIsRefused(fetchedBefore: Bool) {
        if fetchedBefore { #expect(good() == [true, true, true, true]) }
        scratch.damage(image, at: 4096 * 2 + 4095)
        #expect(good() == [true, true, false, true])
    }

    @Test(arguments: [false, true]) func aShorterImageLosesItsLastBlocks(fetchedBefore: Bool) {
        if fetchedBefore { #expect(good() == [true, true, true, true]) }
        truncate(image, 4096 * 2 + 100)
        #expect(good() == [true, true, false, false])
        truncate(image, 0)
        #expect(good() == [false, false, false, false])
    }

    @Test(arguments: [false, true]) func aDeletedImageIsRefused(fetchedBefore: Bool) {
        if fetchedBefore { #expect(good() == [true, true, true, true]) }
        unlink(image)
        #expect(good() == [false, false, false, false])
    }

    @Test(arguments: [false, true]) func aReplacedImageIsReadInItsPlace(fetchedBefore: Bool) {
        if fetchedBefore { #expect(good() == [true, true, true, true]) }
        var random = random
        let old = scratch.contents(image)
        let other = scratch.image("b.raw", random.bytes(4096) + old[4096..<8192] + random.bytes(8192))
        rename(other, image)
        #expect(good() == [false, true, false, false])
    }

    @Test func aPipeOrDirectoryAtItsPathIsRefusedAtOnce() {
        unlink(image)
        mkfifo(image, 0o600)
        #expect(good() == [false, false, false, false])
        unlink(image)
        mkdir(image, 0o700)
        #expect(good() == [false, false, false, false])
        rmdir(image)
    }

    @Test func anInvalidCandidateIsRefused() {
        #expect(!index.isGood(Candidate(neighbour: 1, block: 0), fingerprints[0]))
        #expect(!index.isGood(Candidate(neighbour: -1, block: 0), fingerprints[0]))
        #expect(!index.isGood(Candidate(neighbour: 0, block: .max), fingerprints[0]))
        #expect(!index.isGood(Candidate(neighbour: 0, block: 1), fingerprints[0]))
    }
}
