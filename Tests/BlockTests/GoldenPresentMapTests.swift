import Foundation
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

/// The two files of a present map: a later release must find the same blocks in them.
@Suite("Golden: present map")
struct GoldenPresentMapTests {
    private let scratch = Scratch()
    private let geometry = BlockGeometry(size: 4096 * 99 + 5, blockSize: 4096)!
    /// `1pamraen`, the size and the block size, the least significant byte first.
    private let header: [UInt8] = [
        0x31, 0x70, 0x61, 0x6d, 0x72, 0x61, 0x65, 0x6e, 0x05, 0x30, 0x06, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
    ]

    private func bytes(_ ending: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: scratch.file("disk\(ending)"))))
    }

    /// Bytes of a file that are zero except for the given ones.
    private func part(_ count: Int, _ set: [Int: UInt8]) -> [UInt8] {
        var part = [UInt8](repeating: 0, count: count)
        for (index, value) in set { part[index] = value }
        return part
    }

    @Test("The map is a header and, for each 32768 blocks, a page of what is present and one of what was taken")
    func map() throws {
        let present = PresentMap(geometry: geometry)
        present.mark(10..<20)
        let store = try PresentMapStore.create(path: scratch.file("disk"), geometry: geometry, present: present)
        store.map.markReplaced(30..<31)
        try store.write(store.map.takeChanges())
        let map = try bytes(".map")
        #expect(map.count == 4096 + 2 * 4096)
        #expect(map[..<4096] == (header + part(4096 - header.count, [:]))[...])
        #expect(map[4096..<8192].elementsEqual(part(4096, [1: 0xfc, 2: 0x0f, 3: 0x40])))
        #expect(map[8192...].elementsEqual(part(4096, [1: 0xfc, 2: 0x0f])))
    }

    @Test("The live map is the boot in which it was made, then all of what is present, then all of what was taken")
    func live() throws {
        let present = PresentMap(geometry: geometry)
        present.mark(10..<20)
        let store = try PresentMapStore.create(path: scratch.file("disk"), geometry: geometry, present: present)
        store.map.markReplaced(30..<31)
        let live = try bytes(".live")
        #expect(live.count == 4096 + 2 * 4096)
        let boot = (0..<8).reduce(0 as UInt64) { $0 | UInt64(live[$1]) << UInt64(8 * $1) }
        #expect(boot == MachineBoot.current)
        #expect(live[8..<4096].allSatisfy { $0 == 0 })
        #expect(live[4096..<8192].elementsEqual(part(4096, [1: 0xfc, 2: 0x0f, 3: 0x40])))
        #expect(live[8192...].elementsEqual(part(4096, [1: 0xfc, 2: 0x0f])))
    }

    @Test("A map of an earlier process is loaded, and only present blocks count as taken")
    func opened() throws {
        let map = header + part(4096 - header.count, [:]) + part(4096, [1: 0x0c]) + part(4096, [1: 0x18])
        try Data(map).write(to: URL(fileURLWithPath: scratch.file("disk.map")))
        let store = try PresentMapStore(path: scratch.file("disk"), geometry: geometry)
        #expect((0..<100).filter(store.map.isPresent) == [10, 11])
        #expect((0..<100).filter(store.map.isTaken) == [11])
        #expect(store.map.missing == 98)
    }

    @Test("A map of another disk, or of none, is refused", arguments: [0, 8, 17])
    func other(_ changed: Int) throws {
        var map = header + part(4096 - header.count + 8192, [:])
        map[changed] ^= 1
        try Data(map).write(to: URL(fileURLWithPath: scratch.file("disk.map")))
        #expect(throws: FileError.self) { try PresentMapStore(path: scratch.file("disk"), geometry: geometry) }
    }
}
