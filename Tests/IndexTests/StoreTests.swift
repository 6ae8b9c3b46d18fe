import Block
import Glibc
import TestSupport
import Testing

@testable import Index

@Suite struct StoreTests {
    private let scratch = Scratch()
    private var random = Seeded.fresh()

    @Test func addingAgainReplacesTheOlderTable() throws {
        var random = random
        let (old, new) = (random.bytes(8192), random.bytes(8192))
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", old)
        _ = try store.add(image, threads: 1)
        let before = try NeighbourIndex.open(directory: scratch.index)
        scratch.overwrite(image, new)
        _ = try store.add(image, threads: 1)
        let after = try NeighbourIndex.open(directory: scratch.index)
        let (first, second) = (
            NaiveImage(old, block: 4096).fingerprints, NaiveImage(new, block: 4096).fingerprints
        )
        #expect(after.neighbours.count == 1)
        #expect(after.lookUp(first + second).map { $0 != nil } == [false, false, true, true])
        // An opened index is a snapshot: its old table still answers, but `fetch` refuses the bytes.
        #expect(before.lookUp(first + second).map { $0 != nil } == [true, true, false, false])
        #expect(!before.isGood(before.lookUp(first)[0], first[0]))
    }

    @Test func temporaryFilesOfKilledAddsAreDeletedAndLiveOnesKept() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(4096))
        _ = try store.add(image, threads: 1)
        let directory = IndexDirectory(path: scratch.index)
        let table = IndexFileName.file(forNeighbour: image)
        let dead = IndexFileName.temporary(for: table)
        scratch.image("index/" + dead, [1, 2, 3])
        scratch.image("index/notes.tmp", [4])
        let live = try directory.withLock { try TemporaryFile(in: directory, for: table) }
        #expect(try NeighbourIndex.open(directory: scratch.index).problems.isEmpty)
        #expect(try directory.files().count { IndexFileName.isTemporary($0) } == 2)
        _ = try store.add(image, threads: 1)
        let files = try directory.files()
        #expect(!files.contains(dead) && files.contains("notes.tmp"))
        #expect(files.count { IndexFileName.isTemporary($0) } == 1, "\(files)")
        withExtendedLifetime(live) {}
    }

    @Test func aFailedAddLeavesTheOldTableAndNoFile() throws {
        var random = random
        let bytes = random.bytes(4096)
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", bytes)
        _ = try store.add(image, threads: 1)
        let directory = IndexDirectory(path: scratch.index)
        let table = IndexFileName.file(forNeighbour: image)
        let before = try directory.files()
        #expect(throws: IndexError.name("x")) {
            try directory.replace(table) { file in
                try bytes.withUnsafeBytes { try file.write($0, at: 0) }
                throw IndexError.name("x")
            }
        }
        #expect(try directory.files() == before)
        #expect(try store.verify() == [])
    }

    @Test func aNeighbourIsRemovedEvenWhenItsImageIsGone() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let images = ["a.raw", "b.raw"].map { scratch.image($0, random.bytes(4096)) }
        for image in images { _ = try store.add(image, threads: 1) }
        unlink(images[0])
        try store.remove(images[0])
        #expect(try NeighbourIndex.open(directory: scratch.index).neighbours.map(\.name) == [images[1]])
        #expect(throws: IndexError.notIndexed(image: images[0], directory: scratch.index)) {
            try store.remove(images[0])
        }
    }

    @Test func aSymbolicLinkNamesTheImageItLeadsTo() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(4096))
        let link = scratch.path + "/link"
        symlink(image, link)
        #expect(try store.add(link, threads: 1).neighbour.name == image)
        try store.remove(link)
        #expect(try NeighbourIndex.open(directory: scratch.index).neighbours.isEmpty)
    }

    @Test func refreshReadsOnlyWhatHasChanged() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(4096))
        #expect(throws: IndexError.self) { try store.refresh(image, threads: 1) }
        _ = try store.add(image, threads: 1)
        #expect(try store.refresh(image, threads: 1) == nil)
        scratch.image("a.raw", random.bytes(8192))
        #expect(try store.refresh(image, threads: 1)?.neighbour.blocks == 2)
    }

    @Test func anIndexKeepsItsBlockSize() throws {
        #expect(try IndexStore(directory: scratch.index, blockSize: 512).blockSize == 512)
        #expect(try IndexStore(directory: scratch.index).blockSize == 512)
        #expect(throws: IndexError.otherBlockSize(directory: scratch.index, has: 512, wanted: 4096)) {
            try IndexStore(directory: scratch.index, blockSize: 4096)
        }
        for size in [0, -4096, 256, 1000, 131_072] {
            #expect(throws: IndexError.blockSize(size)) {
                try IndexStore(directory: scratch.index, blockSize: size)
            }
        }
    }

    @Test func aDirectoryWithoutAnIndexGivesAClearError() throws {
        mkdir(scratch.index, 0o700)
        #expect(throws: IndexError.noIndex(directory: scratch.index)) {
            try NeighbourIndex.open(directory: scratch.index)
        }
        let settings = scratch.image("index/index.json", Array(#"{"version":2,"blockSize":4096}"#.utf8))
        #expect(throws: IndexError.laterVersion(directory: scratch.index, version: 2)) {
            try NeighbourIndex.open(directory: scratch.index)
        }
        scratch.image("index/index.json", Array("{".utf8))
        #expect(throws: IndexError.damagedSettings(file: settings)) {
            try IndexStore(directory: scratch.index)
        }
        #expect(throws: FileError("list", "/nowhere", code: ENOENT)) {
            _ = try IndexDirectory(path: "/nowhere").files()
        }
    }

    @Test func aPathThatIsNoImageGivesAClearError() throws {
        let store = try IndexStore(directory: scratch.index)
        #expect(throws: FileError.self) { try store.add(scratch.path + "/none.raw", threads: 1) }
        #expect(throws: IndexError.notAnImage(scratch.path)) { try store.add(scratch.path, threads: 1) }
        #expect(throws: EmptyImage.self) { try store.add(scratch.image("empty.raw", []), threads: 1) }
    }

    @Test func concurrentAddsAllSucceed() throws {
        var random = random
        let images = (0..<4).map { scratch.image("\($0).raw", random.bytes(4096 * 20)) }
        let directory = scratch.index
        let next = Reports()
        _ = try Workers.run(4) {
            next.add(0)
            for round in 0..<10 {
                let store = try IndexStore(directory: directory)
                _ = try store.add(images[(next.all.count + round) % 4], threads: 1)
                #expect(try NeighbourIndex.open(directory: directory).problems == [])
            }
        }
        #expect(try IndexStore(directory: directory).verify() == [])
        #expect(try NeighbourIndex.open(directory: directory).neighbours.count == 4)
        #expect(try IndexDirectory(path: directory).files().count { IndexFileName.isTemporary($0) } == 0)
    }
}
