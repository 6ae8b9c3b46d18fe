import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration

/// The state directory, which later releases take over as it is.
@Suite("Golden: state records")
struct GoldenRecordTests {
    private struct Request: Codable, Equatable {
        var text: String
    }

    private let scratch = Scratch()
    private let identityKey = " file 00112233445566778899aabbccddeeff 42 1700000000000000000"

    private func directory() throws -> StateDirectory { try StateDirectory(path: scratch.file("state")) }

    @Test(
        "A record says what it always said, and is written as it was",
        arguments: GoldenRecords.source + GoldenRecords.destination + GoldenRecords.images)
    func records(_ golden: GoldenRecord) throws {
        #expect(try golden.writtenAgain(in: directory()) == golden.text)
    }

    @Test(
        "A record of a later release, which says more, is understood",
        arguments: GoldenRecords.source.dropLast() + GoldenRecords.destination)
    func laterReleases(_ golden: GoldenRecord) throws {
        let later = golden.saying(more: "\"aLaterField\" : [ 1 ]")
        #expect(try later.writtenAgain(in: directory()) == golden.text)
    }

    @Test("The head of a record, by which its image is found, is the part that all records share")
    func heads() throws {
        let directory = try directory()
        for (golden, inode) in zip(GoldenRecords.source.prefix(3), [42, 42, nil] as [UInt64?]) {
            try golden.text.write(toFile: directory.path(of: "x"), atomically: true, encoding: .utf8)
            #expect(try directory.read(RecordHead.self, from: "x")?.inode == inode)
        }
        try GoldenRecords.source[0].text.write(toFile: directory.path(of: "x"), atomically: true, encoding: .utf8)
        #expect(try directory.read(RecordHead.self, from: "x")?.image == GoldenRecords.image)
    }

    @Test("An image has the key that names its records")
    func keys() throws {
        #expect(GoldenRecords.image.identity?.key == identityKey)
        #expect(StateDirectory.key("moved", path: identityKey) == "moved-2b0d0cfd23f154931fe3a42859782474")
        #expect(StateDirectory.key("incoming", path: "/images/disk.raw") == "incoming-074450ba86792b6cd274b9cc6d5c347a")
        let device = DeviceIdentity([.serial: "s", .partitionUUID: "p"])
        #expect(ImageIdentity(device: device, size: 1).key == "serial s")
        let loop = ImageIdentity(
            file: FileIdentity(fileSystem: FileSystemIdentity(id: "f"), inode: 7, birthTime: nil),
            device: DeviceIdentity([.loop: "0 0"]), size: 1)
        #expect(loop.key == "loop 0 0 file f 7 ")
    }

    @Test("Records and the files of a disk that arrives keep their names")
    func names() throws {
        #expect(SourceRecords.movedPrefix == "moved" && SourceRecords.requestPrefix == "migrating")
        #expect(SourceRecords.attemptPrefix == "attempt")
        #expect(IncomingRecord.prefix == "incoming" && IncomingRecord.returningPrefix == "returning")
        #expect(TargetRecord.prefix == "target" && BitmapRecord.prefix == "bitmap")
        let layout = try ImageLayout(images: "/images", state: directory(), prefixes: ["incoming"])
        #expect(layout.path(of: "disk") == "/images/disk.raw" && layout.path(of: "disk.raw") == "/images/disk.raw")
        #expect(layout.partialPath(of: "disk") == "/images/disk.raw.incoming")
        #expect(layout.manifestPath(of: "disk") == "/images/disk.raw.arriving.manifest")
        #expect(layout.mapPath(of: "disk") == "/images/disk.raw.arriving")
        #expect(layout.recordName("disk", "incoming") == "incoming-074450ba86792b6cd274b9cc6d5c347a")
        #expect(try directory().path(of: "moved-x") == scratch.file("state/moved-x.json"))
    }

    @Test("The word of disks that moved together has its name, and counts for their records")
    func group() throws {
        let directory = try directory()
        let records = SourceRecords(
            directory: directory, image: try RawImage.create(path: scratch.file("a.raw"), size: 4096))
        var moved = try MovedRecord(
            export: "a", image: records.image, migration: GoldenValues.first,
            destination: GoldenRecords.address, root: "")
        moved.group = GoldenValues.second
        try records.commit(moved)
        #expect(try records.moved() == nil)
        let word = try #require(GoldenRecords.source.last).text
        let file = scratch.file("state/together-00000000000000010000000000000002.json")
        try word.write(toFile: file, atomically: true, encoding: .utf8)
        #expect(try records.moved()?.migration == GoldenValues.first)
        records.forget(group: GoldenValues.second)
        #expect(!FileManager.default.fileExists(atPath: file))
        try records.commit(group: GoldenValues.second)
        #expect(try String(contentsOfFile: file, encoding: .utf8) == word)
    }

    @Test("What was asked for is kept beside the image that it is about")
    func request() throws {
        let directory = try directory()
        let image = try RawImage.create(path: scratch.file("a.raw"), size: 4096)
        let records = SourceRecords(directory: directory, image: image)
        try records.keep(Request(text: "asked"))
        let (inode, birthTime) = try RecordedImage(image).legacyFile
        let name = try #require(try directory.names(prefix: "migrating-").first)
        let text = try String(contentsOfFile: directory.path(of: name), encoding: .utf8)
        let birthLine = birthTime.map { "  \"birthTime\" : \($0),\n" } ?? ""
        #expect(text.hasPrefix("{\n\(birthLine)  \"image\" : {\n    \"identity\" : {\n"))
        let end = "  },\n  \"inode\" : \(inode),\n  \"request\" : {\n    \"text\" : \"asked\"\n  }\n}"
        #expect(text.hasSuffix(end), "\(text)")
    }

    @Test("What was asked for of a release that knew an image by its inode")
    func olderRequest() throws {
        let directory = try directory()
        let image = try RawImage.create(path: scratch.file("a.raw"), size: 4096)
        let (inode, birthTime) = try RecordedImage(image).legacyFile
        let birth = birthTime.map { "\"birthTime\":\($0)," } ?? ""
        let text = "{\(birth)\"inode\":\(inode),\"request\":{\"text\":\"asked\"}}"
        let name = StateDirectory.key("migrating", path: StateDirectory.realPath(image.path))
        try text.write(toFile: directory.path(of: name), atomically: true, encoding: .utf8)
        #expect(try SourceRecords(directory: directory, image: image).kept(Request.self) == Request(text: "asked"))
    }
}
