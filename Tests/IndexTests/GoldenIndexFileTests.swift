import Block
import Foundation
import Testing

@testable import Hashing
@testable import Index

/// Golden contents of index files after their headers.
@Suite("Golden: files of an index")
struct GoldenIndexFileTests {
    private static let a: [UInt8] = [
        0xc9, 0x3e, 0xee, 0x2d, 0x0d, 0xb0, 0x2f, 0x10, 0xac, 0xc7, 0x46, 0x0d, 0x95, 0x76, 0xe1, 0x22,
    ]
    private static let b: [UInt8] = [
        0x53, 0x89, 0x68, 0x8a, 0xbf, 0x55, 0xbc, 0x46, 0x63, 0x93, 0x85, 0x08, 0x5b, 0xfa, 0xf1, 0xfd,
    ]

    private let scratch = Scratch()

    private func digest(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        Array(bytes).withUnsafeBytes { BlockHasher().digest($0) }
    }

    /// Computes the same as `TableDigest` for less than a MiB.
    private func shortDigest(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        digest([UInt8](repeating: 0, count: 8) + digest(bytes))
    }

    /// Creates the index of an image with the blocks `a`, zero, `b` and `a`.
    private func store() throws -> (IndexStore, image: String) {
        let block = { (letter: Character) in [UInt8](repeating: letter.asciiValue!, count: 4096) }
        let image = scratch.image("a.raw", block("a") + [UInt8](repeating: 0, count: 4096) + block("b") + block("a"))
        let store = try IndexStore(directory: scratch.index)
        _ = try store.add(image, domain: "shop", options: BuildOptions(threads: 1))
        return (store, image)
    }

    @Test("A table has its image's hash as name, and holds the name, the domain, and 16 bytes a block")
    func table() throws {
        let (_, image) = try store()
        let name = Array(image.utf8)
        let file = scratch.contents("\(scratch.index)/\(IndexFileName.file(forNeighbour: image))")
        #expect(file[256..<256 + name.count].elementsEqual(name))
        #expect(file[(256 + name.count)...].starts(with: Array("shop".utf8)))
        let fingerprints = Self.a + [UInt8](repeating: 0, count: 16) + Self.b + Self.a
        #expect(file[4096...].elementsEqual(fingerprints))
        let header = try TableHeader(decoding: Array(file[..<256]))
        #expect(header.zeroBlocks == 1 && header.distinct == 2 && header.blockCount == 4)
        #expect(header.nameDigest == digest(name + Array("shop".utf8)))
        #expect(header.fingerprintsDigest == shortDigest(fingerprints))
        let identity = try #require(try ImageIdentity(at: image))
        #expect(header.identityDigest == digest(identity.key.utf8))
    }

    @Test("A catalogue lists its tables, the starts of its buckets, and the entries")
    func catalogue() throws {
        let (store, image) = try store()
        let table = IndexFileName.file(forNeighbour: image)
        let file = scratch.contents(try store.catalogueFile)
        let header = try CatalogueHeader(decoding: Array(file[..<256]))
        #expect(header.tableCount == 1 && header.entryCount == 2 && header.bucketBits == 0)
        #expect(header.blockBits == 3 && header.tableBits == 0 && header.entryWidth == 2)
        let generation = scratch.contents("\(scratch.index)/\(table)")[88..<104]
        let tables = IndexFileName.digest(ofNeighbour: image) + generation
        #expect(file[4096..<4128].elementsEqual(tables) && header.tablesDigest == digest(tables))
        let starts: [UInt8] = [0, 0, 0, 0, 2, 0, 0, 0]
        #expect(file[8192..<8200].elementsEqual(starts) && header.startsDigest == digest(starts))
        // Bits of an entry: 13 of the fingerprint, then 3 of the block's number.
        let entries: [UInt8] = [0x8a, 0x53, 0x38, 0xc9]
        #expect(file[12288...].elementsEqual(entries) && header.entriesDigest == shortDigest(entries))
    }

    @Test("The files of an index keep their names")
    func names() {
        #expect(IndexFileName.file(forNeighbour: "/images/a.raw") == "c8e8e8a99209eb2de3e88b9d19a99579.table")
        #expect(IndexFileName.newCatalogue().hasSuffix(".catalogue") && IndexFileName.newCatalogue().utf8.count == 42)
        #expect(IndexFileName.settings == "index.json" && IndexFileName.lock == "index.lock")
        #expect(IndexFileName.mergeLock == "merge.lock")
        #expect(IndexFileName.isTemporary("c8e8e8a99209eb2de3e88b9d19a99579.table.0123456789abcdef.tmp"))
    }

    @Test("The settings of an index")
    func settings() throws {
        let store = try IndexStore(directory: scratch.index, blockSize: 512)
        let file = "\(scratch.index)/index.json"
        let object = try JSONSerialization.jsonObject(with: Data(scratch.contents(file))) as? [String: Int]
        #expect(object == ["version": 1, "blockSize": 512])
        try Data(#"{"aLaterField":[],"blockSize":512,"version":1}"#.utf8).write(to: URL(fileURLWithPath: file))
        #expect(try IndexStore(directory: scratch.index).blockSize == store.blockSize)
    }

    private func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test("The answer of index similarity --json")
    func similarity() throws {
        let (store, image) = try store()
        let index = try NeighbourIndex.open(directory: store.directory)
        let measured = try Similarity.measure(image: image, index: index, options: BuildOptions(threads: 1))
        let golden =
            #"{"block":4096,"blocks":4,"distinct":2,"found":3,"neighbours":[{"found":3,"name":"\#(image)"}],"zero":1}"#
        #expect(try text(measured) == golden)
        #expect(try JSONDecoder().decode(Similarity.self, from: Data(golden.utf8)) == measured)
    }

    @Test("The JSON of an image in index list and index add")
    func neighbour() throws {
        let golden =
            #"{"blocks":4,"distinct":2,"domain":"shop","identity":{"device":1,"inode":2,"modified":3,"size":4},"#
            + #""name":"/a.raw","size":16384,"tableBytes":8192,"tableFile":"/i/x.table","zero":1}"#
        let neighbour = try JSONDecoder().decode(Neighbour.self, from: Data(golden.utf8))
        #expect(neighbour.stamp == ImageStamp(device: 1, inode: 2, size: 4, modified: 3))
        #expect(neighbour.tableFile == "/i/x.table" && neighbour.tableBytes == 8192)
        #expect(try text(neighbour) == golden)
    }
}
