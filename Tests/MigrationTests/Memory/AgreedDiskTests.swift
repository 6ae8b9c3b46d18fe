import BlockModel
import Hashing
import MigrationCore
import TestSupport
import Testing

@testable import Migration

@Suite("Blocks of a disk that both nodes have")
struct AgreedDiskTests {
    private let scratch = Scratch()
    private let map: DirtyMap
    private let disk: AgreedDisk

    init() throws {
        let geometry = try #require(BlockGeometry(size: 16 * 4096, blockSize: 4096))
        map = DirtyMap(geometry: geometry)
        disk = AgreedDisk(
            name: .export("disk"), manifest: try FingerprintFile(geometry: geometry, directory: scratch.path),
            dirtyMap: map)
    }

    /// The blocks of this disk, number 1, that stay of all, among pages on another disk and pages on none.
    private func held() -> [UInt64] {
        var places: [(disk: Int, block: UInt64)?] = (0..<16).flatMap { block in
            [(disk: 1, block: block), (disk: 0, block: block), nil]
        }
        disk.removeChanged(from: &places, disk: 1)
        #expect(places.compactMap { $0 }.count { $0.disk == 0 } == 16)
        #expect(places.count == 48)
        return places.compactMap { $0 }.filter { $0.disk == 1 }.map(\.block)
    }

    @Test("Before the first confirmation -> none")
    func unconfirmed() { #expect(held().isEmpty) }

    @Test("Confirmed -> all but those that were written or sent since")
    func confirmed() {
        disk.confirm()
        #expect(held() == Array(0..<16))
        map.mark(blocks: 3..<5)
        disk.send([7, 9])
        #expect(held() == [0, 1, 2, 5, 6, 8, 10, 11, 12, 13, 14, 15])
        disk.confirm()
        #expect(held() == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    }
}
