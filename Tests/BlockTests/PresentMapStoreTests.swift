import Foundation
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

@Suite("The present map on disk (invariant 2)")
struct PresentMapStoreTests {
    private let geometry = BlockGeometry(size: 4096 * 100_000 + 7, blockSize: 4096)!

    @Test("A new process gets the whole map; after a reboot it gets what was durable")
    func lives() throws {
        let scratch = Scratch()
        let path = scratch.file("disk")
        let present = PresentMap(geometry: geometry)
        present.mark(10..<20)
        do {
            let store = try PresentMapStore.create(path: path, geometry: geometry, present: present)
            #expect(store.map.isTaken(10) && !store.map.isPresent(20))
            store.map.markTaken(50_000..<50_010)
            try store.write(store.map.takeChanges())
            store.map.markReplaced(70_000..<70_001)
        }
        do {
            let store = try PresentMapStore(path: path, geometry: geometry)
            #expect(store.map.isPresent(70_000) && !store.map.isTaken(70_000), "it only ended")
            #expect(store.map.missing == geometry.blockCount - 21)
        }
        // The number of another boot.
        let live = try FileHandle(forUpdating: URL(fileURLWithPath: "\(path).live"))
        try live.write(contentsOf: Data(repeating: 0x61, count: 36))
        try live.close()
        let store = try PresentMapStore(path: path, geometry: geometry)
        #expect(!store.map.isPresent(70_000), "nobody made that durable")
        #expect(store.map.isTaken(50_009) && store.map.isTaken(10))
        #expect(store.map.missing == geometry.blockCount - 20)
        store.remove()
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
    }

    @Test("After a failed flush, a new process gets only what was durable")
    func distrusted() throws {
        let scratch = Scratch()
        let path = scratch.file("disk")
        do {
            let store = try PresentMapStore.create(
                path: path, geometry: geometry, present: PresentMap(geometry: geometry))
            store.map.markTaken(1..<2)
            try store.write(store.map.takeChanges())
            store.map.markReplaced(2..<3)
            store.distrustMemory()
        }
        let store = try PresentMapStore(path: path, geometry: geometry)
        #expect(store.map.isTaken(1) && !store.map.isPresent(2))
    }

    @Test(
        "A map that was created can be written on a full file system",
        .enabled(if: SmallFileSystem.isPossible))
    func full() throws {
        let scratch = Scratch()
        let small = try SmallFileSystem(on: scratch.file("small"))
        defer { small.unmount() }
        let store = try PresentMapStore.create(
            path: "\(small.path)/disk", geometry: geometry, present: PresentMap(geometry: geometry))
        #expect(throws: (any Error).self) {
            try Data(count: 2 << 20).write(to: URL(fileURLWithPath: "\(small.path)/ballast"))
        }
        store.map.markTaken(0..<geometry.blockCount)
        try store.write(store.map.takeChanges())
    }

    @Test("The map of another disk is refused")
    func stranger() throws {
        let scratch = Scratch()
        let path = scratch.file("disk")
        _ = try PresentMapStore.create(path: path, geometry: geometry, present: PresentMap(geometry: geometry))
        let other = BlockGeometry(size: 4096 * 100_000, blockSize: 4096)!
        #expect(throws: FileError.self) { try PresentMapStore(path: path, geometry: other) }
    }
}
