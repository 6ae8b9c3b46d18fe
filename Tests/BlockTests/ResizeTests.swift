import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Block
@testable import BlockModel

/// A disk whose file grows or shrinks while it is served.
@Suite(.timeLimit(.minutes(10))) struct ResizeTests {
    private let scratch = Scratch()

    @Test("A resized map keeps its marks and has new blocks marked")
    func maps() throws {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let (before, after) = (
                UInt64.random(in: 1...400_000, using: &random), UInt64.random(in: 1...400_000, using: &random)
            )
            let map = DirtyMap(geometry: try #require(BlockGeometry(size: before, blockSize: 512)))
            for _ in 0..<10 {
                let block = UInt64.random(in: 0..<map.geometry.blockCount, using: &random)
                map.mark(blocks: block..<block + 1)
            }
            let next = try #require(map.resized(to: after))
            var marked = 0
            for block in 0..<next.geometry.blockCount {
                let expected = block >= min(before, after) / 512 || map.isDirty(block)
                #expect(next.isDirty(block) == expected, "\(before) to \(after), block \(block)")
                if expected { marked += 1 }
            }
            #expect(next.count() == UInt64(marked), "no bit is set behind the end")
            // The disk is longer than the map: marks and queries beyond its end must do no harm.
            map.mark(offset: before, length: 4096)
            map.mark(offset: before - 1, length: 4096)
            #expect(map.isDirty(map.geometry.blockCount - 1))
            let marks = BlockMarks(dirty: map)
            let end = map.geometry.blockCount * 512
            #expect(marks.run(in: end..<end + 512) == (true, end + 512))
            #expect(marks.run(in: end - 512..<end + 512) == (true, end))
        }
    }

    @Test("Read counts survive when parts become larger")
    func reads() {
        let part: UInt64 = 1 << 20
        let old = ReadCounts(size: 10 * part)
        for _ in 0..<3 { old.note(offset: 5 * part, length: 1) }
        old.note(offset: 9 * part, length: 1)
        let (often, once) = (5 * part..<6 * part, 9 * part..<10 * part)
        #expect(ReadCounts(size: 20 * part, from: old).mostRead(limit: 9) == [often, once])
        #expect(ReadCounts(size: 6 * part, from: old).mostRead(limit: 9) == [often])
        let huge = ReadCounts(size: 1 << 42, from: old).mostRead(limit: 9)
        #expect(huge.first == 0..<8 * part && huge.count == 2)
    }

    @Test("Writes behind the end of a truncated file fail, and the truncation is reported once")
    func cut() async throws {
        let path = try scratch.write([UInt8](repeating: 7, count: 65536), to: "disk.raw")
        try await TestDisk.run(path) { test in
            let client = test.client()
            let reports = NIOLockedValueBox<[UInt64]>([])
            test.image.whenCut { end in reports.withLockedValue { $0.append(end) } }
            #expect(truncate(path, 20_000) == 0)
            #expect(await client.read(4096, at: 40_960).error == EIO)
            #expect(reports.withLockedValue { $0 } == [20_000])
            for offset in [40_960, 16_384, 19_999] {
                #expect(await client.write([UInt8](repeating: 8, count: 4096), at: offset) == EIO)
            }
            for kind in [RequestKind.trim, .writeZeroes] {
                #expect(await client.perform(kind, offset: 40_960, length: 4096) == EIO)
            }
            #expect(await client.write([8], at: 19_999) == 0)
            #expect(await client.perform(.flush) == 0)
            let length = try test.image.currentSize()
            #expect(length == 20_000)
            #expect(reports.withLockedValue { $0 } == [20_000])
            // The file has its full size again.
            #expect(truncate(path, 65536) == 0)
            #expect(await client.write([9], at: 65_535) == 0)
            #expect(await client.read(1, at: 65_535).bytes == [9])
        }
    }

    @Test("A grown disk accepts writes beyond its old end")
    func grown() async throws {
        let path = try scratch.hole(10_000, "disk.raw")
        try await TestDisk.run(path, loops: 2) { test in
            #expect(truncate(path, 30_000) == 0)
            #expect(await test.client().write([1], at: 20_000) == EINVAL)
            try test.image.resize(to: 30_000)
            test.disk.resize(to: 30_000)
            #expect(await test.client().write([1], at: 20_000) == 0)
            #expect(await test.client(on: 1).read(1, at: 20_000).bytes == [1])
            #expect(test.disk.reads.mostRead(limit: 1) == [0..<30_000])
        }
    }
}
