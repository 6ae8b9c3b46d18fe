import BlockModel
import Testing

@Suite("Pictures of a disk's blocks")
struct BlockPictureTests {
    @Test(
        "A disk of any size -> at most 4096 cells, which cover each block once",
        arguments: [0, 1, 4095, 4096, 4097, 262_144, 268_435_456, 1 << 55] as [UInt64])
    func cells(_ blocks: UInt64) {
        let cells = BlockCells(blockCount: blocks)
        #expect(cells.count <= 4096)
        var next: UInt64 = 0
        for cell in 0..<cells.count {
            #expect(cells.blocks(of: cell).lowerBound == next && !cells.blocks(of: cell).isEmpty)
            next = cells.blocks(of: cell).upperBound
        }
        #expect(next == blocks)
    }

    @Test("Blocks of several cells -> counted in each")
    func origins() throws {
        let geometry = try #require(BlockGeometry(size: 3 * 4096 * 4096, blockSize: 4096))
        let origins = BlockOrigins(geometry: geometry)
        #expect(origins.cells.blocksPerCell == 3)
        origins.record(2..<7, from: .link)
        origins.record(0..<1, from: .zero)
        #expect(origins.counts(of: 0) == [1, 0, 0, 0, 1])
        #expect(origins.counts(of: 1) == [0, 0, 0, 0, 3])
        #expect(origins.counts(of: 2) == [0, 0, 0, 0, 1])
        #expect(origins.totals == [1, 0, 0, 0, 5])
    }

    @Test("Blocks that came again, or that nobody counted -> shares that add up to the cell")
    func shares() {
        let cell = BlockPicture.Cell(blocks: 100, counts: [10, 0, 0, 30, 200], missing: 20, dirty: 5)
        #expect(cell.arrived.reduce(0, +) + cell.missing + cell.dirty == 100)
        #expect(cell.arrived[4] > cell.arrived[3] && cell.arrived[3] > cell.arrived[0])
        let unknown = BlockPicture.Cell(blocks: 100, counts: [10, 0, 0, 0, 0], missing: 0, dirty: 0)
        #expect(unknown.arrived == [10, 90, 0, 0, 0])
        let missing = BlockPicture.Cell(blocks: 10, counts: [0, 0, 0, 0, 9], missing: 12, dirty: 3)
        #expect(missing.missing == 10 && missing.dirty == 0 && missing.arrived == [0, 0, 0, 0, 0])
    }

    @Test("Parts of maps -> counted as the whole maps are")
    func parts() throws {
        let geometry = try #require(BlockGeometry(size: 1000 * 512, blockSize: 512))
        let dirty = DirtyMap(geometry: geometry)
        dirty.mark(blocks: 60..<70)
        dirty.mark(blocks: 999..<1000)
        #expect(dirty.count(in: 0..<1000) == 11 && dirty.count(in: 64..<66) == 2 && dirty.count(in: 70..<999) == 0)
        let present = PresentMap(geometry: geometry)
        present.mark(10..<200)
        #expect(present.missing(in: 0..<1000) == present.missing())
        #expect(present.missing(in: 9..<201) == 2)
    }
}
