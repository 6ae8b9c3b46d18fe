import Block
import BlockModel
import Foundation
import TestSupport
import Testing

@testable import Daemon

@Suite("Maps for the page")
struct CellRunsTests {
    private func cell(_ arrived: [UInt64], missing: UInt64 = 0, dirty: UInt64 = 0) -> BlockPicture.Cell {
        BlockPicture.Cell(
            blocks: arrived.reduce(0, +) + missing + dirty, counts: arrived, missing: missing, dirty: dirty)
    }

    @Test("Cells -> the largest state of each, with marks for some dirty or missing blocks, in runs")
    func runs() {
        let zero = cell([4, 0, 0, 0, 0])
        #expect(CellRuns.text([zero, zero, zero]) == "A3")
        #expect(CellRuns.text([cell([0, 0, 0, 0, 4]), cell([0, 0, 0, 4, 0])]) == "ED")
        #expect(CellRuns.text([cell([0, 0, 0, 0, 4], missing: 1), cell([0, 0, 0, 0, 4], dirty: 1)]) == "UM")
        #expect(
            CellRuns.text([cell([0, 0, 0, 0, 1], missing: 9), cell([0, 0, 0, 0, 1], missing: 1, dirty: 9)]) == "FW")
        #expect(CellRuns.text([cell([0, 0, 0, 0, 9], missing: 1, dirty: 1)]) == "c")
        #expect(CellRuns.text([]) == "")
    }

    @Test("A file with holes -> data and holes where they are, with few questions")
    func allocation() async throws {
        let scratch = Scratch()
        let path = try scratch.hole(64 << 20, "disk.raw")
        let image = try RawImage(path: path, access: .readWrite)
        let data = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { data.deallocate() }
        data.initializeMemory(as: UInt8.self, repeating: 1)
        try image.write(UnsafeRawBufferPointer(data), at: 8 << 20)
        // One block in each of many cells.
        for block in stride(from: 32 << 20, to: 33 << 20, by: 16384) {
            try image.write(UnsafeRawBufferPointer(rebasing: data[..<4096]), at: UInt64(block))
        }
        let picture = try #require(AllocationPicture.of(image))
        #expect(picture.cells.count == 4096 && picture.division.blocksPerCell == 4)
        let present = picture.cells.map { $0.arrived[BlockOrigin.present.rawValue] }
        #expect(present.reduce(0, +) == 256 + 64)
        #expect(present[512..<576].allSatisfy { $0 == 4 } && present[511] == 0 && present[576] == 0)
        #expect(present[2048..<2112].allSatisfy { $0 == 1 })
    }
}
