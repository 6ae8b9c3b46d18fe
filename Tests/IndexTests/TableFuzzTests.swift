import Glibc
import TestSupport
import Testing

@testable import Hashing
@testable import Index

/// Damages tables and catalogues at random. Half of the cases get a valid header checksum, so that the damage reaches
/// further.
@Suite struct TableFuzzTests {
    @Test func randomDamageNeverCrashesAndNeverGivesWrongBytes() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let bytes = mixedImage(&random, block: 512, blocks: 600, tail: 100)
        let store = try IndexStore(directory: scratch.index, blockSize: 512)
        let table = try store.add(scratch.image("a.raw", bytes), threads: 1).neighbour.tableFile
        try damage(table, bytes, scratch, &random)
        try damage(try store.catalogueFile, bytes, scratch, &random)
    }

    private func damage(_ table: String, _ bytes: [UInt8], _ scratch: Scratch, _ random: inout Seeded) throws {
        let original = scratch.contents(table)
        let questions = NaiveImage(bytes, block: 512).nonZero
        for _ in 0..<400 {
            let damaged = damage(original, &random)
            truncate(table, 0)
            scratch.overwrite(table, damaged)
            let index = try NeighbourIndex.open(directory: scratch.index)
            #expect(index.neighbours.count == 1 || !index.problems.isEmpty)
            for (question, candidate) in zip(questions, index.lookUp(questions)) where candidate != nil {
                // This check records an issue itself if it accepts a wrong block.
                _ = index.isGood(candidate, question)
            }
        }
        truncate(table, 0)
        scratch.overwrite(table, original)
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

    private func header(imageSize: UInt64, blockSize: Int = 4096) -> TableHeader {
        TableHeader(
            blockSize: blockSize, imageSize: imageSize, nameLength: 5, domainLength: 1,
            stamp: .init(device: 1, inode: 1, size: 1, modified: 1))
    }

    private func reseal(_ bytes: inout [UInt8], _ offset: Int, _ field: [UInt8]) {
        bytes.replaceSubrange(offset..<offset + field.count, with: field)
        bytes.seal(from: 224)
    }

    @Test func anImageBeyondWhatAFileOffsetCanExpressIsRefused() {
        let bytes = header(imageSize: 1 << 63, blockSize: 65536).encode()
        #expect(throws: TableFault.damaged("header")) { try TableHeader(decoding: bytes) }
    }

    @Test func absurdHeadersWithARightChecksumAreRefused() {
        let ones = [UInt8](repeating: 0xff, count: 8)
        let fields: [(Int, [UInt8])] = [
            (12, [0, 0, 0, 0]), (12, [1, 16, 0, 0]), (12, [0, 0, 2, 0]), (16, ones),
            (16, [UInt8](repeating: 0, count: 8)),
            (24, ones), (32, ones), (40, ones), (48, [0, 0, 0, 0]), (48, [255, 255, 255, 255]), (52, [0, 0, 0, 0]),
            (52, [0, 1, 0, 0]),
        ]
        for (offset, field) in fields {
            var bytes = header(imageSize: 1 << 20).encode()
            #expect(throws: Never.self) { try TableHeader(decoding: bytes) }
            reseal(&bytes, offset, field)
            #expect(throws: TableFault.damaged("header")) { try TableHeader(decoding: bytes) }
        }
    }

    @Test func absurdCatalogueHeadersWithARightChecksumAreRefused() {
        let fields: [(Int, [UInt8])] = [
            (16, [UInt8](repeating: 0xff, count: 8)), (24, [0, 0, 0, 0]), (24, [1, 16, 0, 0]), (28, [27, 0, 0, 0]),
            (32, [0, 0, 0, 0]), (32, [9, 0, 0, 0]), (36, [49, 0, 0, 0]), (40, [13, 0, 0, 0]),
            (36, [255, 255, 255, 255]),
            (32, [1, 0, 0, 0]),
        ]
        for (offset, field) in fields {
            var bytes = CatalogueHeader(blockSize: 4096, tableCount: 3, maximumBlocks: 1 << 20, expected: 1 << 20)
                .encode()
            #expect(throws: Never.self) { try CatalogueHeader(decoding: bytes) }
            reseal(&bytes, offset, field)
            #expect(throws: TableFault.damaged("header")) { try CatalogueHeader(decoding: bytes) }
        }
    }
}
