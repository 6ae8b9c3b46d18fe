import Block
import Foundation
import Testing

@testable import Index

/// Golden headers of index files. Their checksums were computed independently, with Python's hashlib.
@Suite("Golden: headers of an index")
struct GoldenHeaderTests {
    private static let digests =
        "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
        + "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
    private static let identity = "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
    /// The header up to the identity.
    private static let table =
        "6e656172626c6b0a 02000000 00100000 0504030201000000 3120100000000000 0300000000000000 0400000000000000"
        + "11000000 07000000 1817161514131211 2827262524232221 0504030201000000 feffffffffffffff"
        + "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" + digests
    private static let tableHex =
        table + identity + String(repeating: "00", count: 24)
        + "e4fc51476fd27e4dbb03890d620fa286a0716404abec65c7c4ef1cfb0d7107bf"
    private static let originsHex =
        table.replacingOccurrences(of: "6e656172626c6b0a 02", with: "6e656172626c6b0a 03")
        .replacingOccurrences(of: "3120100000000000", with: "3220100000000000") + identity + "02000000"
        + String(repeating: "00", count: 20) + "ed79f0c4dfe35604889e4bb7b9fb9d33e35335afeba2d7e2ab5c6eb8cf22afd3"
    private static let olderTableHex =
        table + String(repeating: "00", count: 56) + "8d404d1c7308f7db4c3b0f638226f2525311e24d481d455a5c72603b1025d0d8"
    private static let catalogueHex =
        "6e6561726361740a 01000000 00100000 e803000000000000 03000000 04000000 05000000 15000000 02000000"
        + String(repeating: "00", count: 20) + digests + identity + String(repeating: "00", count: 64)
        + "7b8afce3c83fe4f6787bca5e7dfde05c3fd7179e9c5bc7bcdaec9d823d54266a"

    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.filter { $0 != " " })
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0..<$0 + 2]), radix: 16)! }
    }

    private func table(identity: [UInt8]?, origins: [UInt64] = []) -> TableHeader {
        var header = TableHeader(
            blockSize: 4096, imageSize: 0x01_0203_0405, nameLength: 17, domainLength: 7,
            stamp: ImageStamp(
                device: 0x1112_1314_1516_1718, inode: 0x2122_2324_2526_2728, size: 0x01_0203_0405, modified: -2),
            identityDigest: identity, generation: Generation(bytes: Array(0xa0..<0xb0)), origins: origins)
        header.zeroBlocks = 3
        header.distinct = 4
        header.nameDigest = Array(0x20..<0x40)
        header.fingerprintsDigest = Array(0x40..<0x60)
        return header
    }

    @Test("The header of a table")
    func tables() throws {
        let header = table(identity: Array(0x60..<0x80))
        #expect(header.encode() == bytes(Self.tableHex))
        #expect(try TableHeader(decoding: bytes(Self.tableHex)) == header)
        #expect(header.nameRange == 256..<280 && header.fingerprintsRange == 4096..<4096 + 0x102031 * 16)
    }

    @Test("The header of a table with origins, which earlier releases take for a later version's")
    func tablesWithOrigins() throws {
        let header = table(identity: Array(0x60..<0x80), origins: [0x7e00, 0x10_0000])
        #expect(header.encode() == bytes(Self.originsHex))
        #expect(try TableHeader(decoding: bytes(Self.originsHex)) == header)
        #expect(header.textRange == 256..<296 && header.nameRange == 256..<280)
        #expect(header.fingerprintsRange == 4096..<4096 + 0x102032 * 16)
    }

    @Test("A table header of a release without the image's identity")
    func olderTables() throws {
        #expect(try TableHeader(decoding: bytes(Self.olderTableHex)) == table(identity: nil))
        #expect(table(identity: nil).encode() == bytes(Self.olderTableHex))
    }

    @Test("The header of a catalogue, and the offsets of its sections")
    func catalogues() throws {
        var header = CatalogueHeader(blockSize: 4096, tableCount: 3, maximumBlocks: 1 << 20, expected: 1000)
        header.tablesDigest = Array(0x20..<0x40)
        header.startsDigest = Array(0x40..<0x60)
        header.entriesDigest = Array(0x60..<0x80)
        #expect(header.encode() == bytes(Self.catalogueHex))
        #expect(try CatalogueHeader(decoding: bytes(Self.catalogueHex)) == header)
        #expect(header.tablesRange == 4096..<4192 && header.startsRange == 8192..<8260)
        #expect(header.entriesRange == 12288..<17288)
        #expect(header.bucket(0x8fff_ffff_ffff_ffff) == 8 && header.rest(0x8fff_8000_0000_0000) == 0x1fff0)
    }

    @Test("Another version -> a version error, not damage")
    func versions() {
        var later = bytes(Self.tableHex)
        later[8] = 4
        #expect(throws: TableFault.version(4)) { try TableHeader(decoding: later) }
        var damaged = bytes(Self.catalogueHex)
        damaged[64] ^= 1
        #expect(throws: TableFault.damaged("header")) { try CatalogueHeader(decoding: damaged) }
    }
}
