import Foundation
import TestSupport
import Testing

@testable import Index

/// A table belongs to an image by identity, whatever path leads to the image.
@Suite("Identity of neighbours")
struct IdentityTests {
    private let scratch = Scratch()
    private var random = Seeded.fresh()

    private func names() throws -> [String] {
        try NeighbourIndex.open(directory: scratch.index).neighbours.map { ($0.name as NSString).lastPathComponent }
    }

    @Test("Same identity and path -> nothing is read again")
    func both() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(8192))
        _ = try store.add(image, threads: 1)
        #expect(store.isCurrent(image))
        #expect(try store.refresh(image, options: BuildOptions(threads: 1)) == nil)
    }

    @Test("Renamed image -> its table moves along; an image with two names -> two tables")
    func renamed() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(8192))
        _ = try store.add(image, threads: 1)
        try FileManager.default.linkItem(atPath: image, toPath: "\(scratch.path)/b.raw")
        _ = try store.add("\(scratch.path)/b.raw", threads: 1)
        #expect(try names() == ["a.raw", "b.raw"])
        unlink(image)
        _ = try store.add("\(scratch.path)/b.raw", threads: 1)
        #expect(try names() == ["b.raw"])
    }

    @Test("Another image at the same path -> read whole, not updated block by block")
    func replaced() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", random.bytes(8192))
        _ = try store.add(image, threads: 1)
        unlink(image)
        let new = random.bytes(8192)
        scratch.image("a.raw", new)
        #expect(!store.isCurrent(image))
        #expect(throws: IndexError.self) { try store.update(image, blocks: [0], options: BuildOptions(threads: 1)) }
        #expect(try store.refresh(image, options: BuildOptions(threads: 1)) != nil)
        let index = try NeighbourIndex.open(directory: scratch.index)
        #expect(index.lookUp(NaiveImage(new, block: 4096).fingerprints).allSatisfy { $0 != nil })
    }

    @Test("Other identity and path -> another neighbour")
    func another() throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let bytes = random.bytes(8192)
        for name in ["a.raw", "b.raw"] { _ = try store.add(scratch.image(name, bytes), threads: 1) }
        #expect(try names() == ["a.raw", "b.raw"])
    }

    @Test("Loop devices that swapped their numbers -> read again", .enabled(if: LoopDevice.isPossible))
    func devices() async throws {
        var random = random
        let store = try IndexStore(directory: scratch.index)
        let devices = LoopDevice.reserveNumbers(2)
        let files = ["a.raw", "b.raw"].map { scratch.image($0, random.bytes(8192)) }
        for (device, file) in zip(devices, files) { try await LoopDevice.attach(file, to: device) }
        for device in devices { _ = try store.add(device, threads: 1) }
        for device in devices { try await LoopDevice.detach(device) }
        for (device, file) in zip(devices, files.reversed()) { try await LoopDevice.attach(file, to: device) }
        for device in devices {
            #expect(throws: IndexError.self) { try store.update(device, blocks: [], options: BuildOptions(threads: 1)) }
            #expect(try store.refresh(device, options: BuildOptions(threads: 1)) != nil)
        }
        #expect(try names().count == 2)
        for device in devices { try await LoopDevice.detach(device) }
    }
}
