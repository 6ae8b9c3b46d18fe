import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// A node's records about an image that is not open.
@Suite("Records about a place")
struct PlaceRecordsTests {
    private struct Request: Codable {
        var text = "asked"
    }

    private static let place = "rbd:rbd/web"
    private let scratch = Scratch()

    private func directory() throws -> StateDirectory { try StateDirectory(path: scratch.file("state")) }

    private func records(at place: String = place, named name: String? = nil) throws -> PlaceRecords {
        PlaceRecords(in: try directory(), at: place, named: name)
    }

    /// The image as its records name it.
    private func image(_ facts: [DeviceIdentity.Kind: String], at path: String? = place) -> RecordedImage {
        RecordedImage(identity: ImageIdentity(device: DeviceIdentity(facts), size: 4096), path: path)
    }

    private func writeDeparture(_ image: RecordedImage, group: MigrationID? = nil) throws {
        let file = scratch.file("any")
        if access(file, F_OK) != 0 { _ = try RawImage.create(path: file, size: 4096) }
        var record = try MovedRecord(
            export: "web", image: RawImage(path: file, access: .readOnly), migration: MigrationID(),
            destination: PeerAddress(host: "::1", port: 7), root: "")
        (record.image, record.group) = (image, group)
        try directory().write(record, as: "moved-x")
    }

    @Test("The disk has moved -> its record is found by the place, and by the name at another place")
    func departure() throws {
        #expect(try records().departure() == nil)
        // Nothing else tells one opening from others, so the image could not be known again.
        try writeDeparture(image([.opening: "1"]))
        #expect(try records().departure() == scratch.file("state/moved-x.json"))
        #expect(try records(at: "rbd:rbd/other").departure() == nil)
        try writeDeparture(image([.named: "web"], at: "rbd:rbd/before"))
        #expect(try records().departure() == nil)
        #expect(try records(named: "web").departure() != nil)
        try Data("?".utf8).write(to: URL(fileURLWithPath: scratch.file("state/moved-x.json")))
        #expect(throws: DamagedRecord.self) { try records().departure() }
    }

    @Test("A disk of a group -> moved only once all of them have")
    func group() throws {
        let group = MigrationID()
        try writeDeparture(image([.named: "web"]), group: group)
        #expect(try records().departure() == nil)
        try directory().write(["group": group], as: SourceRecords.commonRecord(of: group))
        #expect(try records().departure() != nil)
    }

    @Test("Blocks are missing, or the source has not committed -> a gap; a disk that has come whole -> none")
    func gap() throws {
        var record = IncomingRecord(phase: .prepared, migration: MigrationID(), export: "web", size: 4096, root: "")
        record.image = image([.named: Self.place])
        func hasGap() throws -> Bool {
            try directory().write(record, as: "incoming-x")
            return try records().gap() == scratch.file("state/incoming-x.json")
        }
        #expect(try hasGap())
        record.phase = .active
        #expect(try !hasGap())
        record.blockSize = 4096
        #expect(try hasGap())
        #expect(try records(at: "rbd:rbd/other").gap() == nil)
    }

    @Test("Requests to move the disk are dropped; those of others stay")
    func requests() throws {
        for (name, path) in [("migrating-x", Self.place), ("migrating-y", "rbd:rbd/other")] {
            let kept = SourceRecords.Kept(
                image: image([.opening: "1"], at: path), inode: 0, birthTime: nil, request: Request(), resumes: nil)
            try directory().write(kept, as: name)
        }
        try records().dropRequests()
        #expect(try directory().names(prefix: "migrating-") == ["migrating-y"])
    }
}
