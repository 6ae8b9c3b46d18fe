import Glibc
import Testing

@testable import Index

/// Tables with random damage, their header's checksum mended in half of the cases so that the damage gets
/// deeper.
@Suite struct TableFuzzTests {
    @Test func randomDamageNeverCrashesAndNeverGivesWrongBytes() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let bytes = mixedImage(&random, block: 512, blocks: 600, tail: 100)
        let store = try IndexStore(directory: scratch.index, blockSize: 512)
        let table = try store.add(scratch.image("a.raw", bytes), threads: 1).neighbour.tableFile
        let original = scratch.contents(table)
        let questions = NaiveImage(bytes, block: 512).nonZero
        for _ in 0..<400 {
            let damaged = damage(original, &random)
            truncate(table, 0)
            scratch.overwrite(table, damaged)
            let index = try NeighbourIndex.open(directory: scratch.index)
            #expect(index.neighbours.count + index.problems.count == 1)
            for (question, candidate) in zip(questions, index.lookUp(questions)) where candidate != nil {
                // Says so itself where it accepts a block that it should not.
                _ = index.isGood(candidate, question)
            }
        }
    }

    private func damage(_ original: [UInt8], _ random: inout Seeded) -> [UInt8] {
        var bytes = original
        let region = Bool.random(using: &random) ? TableHeader.byteCount : bytes.count
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            bytes[.random(in: 0..<region, using: &random)] = .random(in: 0...255, using: &random)
        }
        if Int.random(in: 0..<4, using: &random) == 0 {
            bytes.removeLast(.random(in: 0..<bytes.count, using: &random))
        }
        if bytes.count >= TableHeader.byteCount, Bool.random(using: &random) {
            let digest = bytes.withUnsafeBytes { BlockHasher().digest(.init(rebasing: $0[..<224])) }
            bytes.replaceSubrange(224..<256, with: digest)
        }
        return bytes
    }

    @Test func anImageBeyondWhatAFileOffsetCanExpressIsRefused() {
        let header = TableHeader(
            blockSize: 65536, imageSize: 1 << 63, zeroBlocks: 0, entryCount: 200, nameLength: 5,
            identity: .init(device: 1, inode: 1, size: 1, modified: 1))
        #expect(throws: TableFault.damaged("header")) { try TableHeader(decoding: header.encode()) }
    }

    @Test func absurdHeadersWithARightChecksumAreRefused() {
        let fields: [(Int, [UInt8])] = [
            (12, [0, 0, 0, 0]), (12, [1, 16, 0, 0]), (12, [0, 0, 2, 0]),
            (16, [UInt8](repeating: 0xff, count: 8)), (16, [UInt8](repeating: 0, count: 8)),
            (40, [UInt8](repeating: 0xff, count: 8)), (32, [UInt8](repeating: 0xff, count: 8)),
            (48, [0, 0, 0, 0]), (48, [255, 255, 255, 255]), (52, [0, 0, 0, 0]), (52, [8, 0, 0, 0]),
        ]
        for (offset, field) in fields {
            var bytes = TableHeader(
                blockSize: 4096, imageSize: 1 << 20, zeroBlocks: 0, entryCount: 200, nameLength: 5,
                identity: .init(device: 1, inode: 1, size: 1, modified: 1)
            ).encode()
            #expect(throws: Never.self) { try TableHeader(decoding: bytes) }
            bytes.replaceSubrange(offset..<offset + field.count, with: field)
            bytes.replaceSubrange(
                224..., with: bytes.withUnsafeBytes { BlockHasher().digest(.init(rebasing: $0[..<224])) })
            #expect(throws: TableFault.damaged("header")) { try TableHeader(decoding: bytes) }
        }
    }
}
