import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// The four cases of identity and path, for each kind of record.
@Suite("Records are about images")
struct RecordIdentityTests {
    private struct Request: Codable, Equatable {
        var text = "asked"
    }

    private let scratch = Scratch()
    private let address = PeerAddress(host: "::1", port: 7)

    private func directory() throws -> StateDirectory { try StateDirectory(path: scratch.file("state")) }

    private func records(_ path: String, elsewhere: [ImageIdentity] = []) throws -> SourceRecords {
        SourceRecords(
            directory: try directory(), image: try RawImage(path: path, access: .readOnly),
            standing: { elsewhere.map { StandingImage(path: "/elsewhere", identity: $0, file: nil) } })
    }

    private func commit(_ records: SourceRecords, _ migration: MigrationID = MigrationID()) throws {
        try records.commit(
            MovedRecord(export: "a", image: records.image, migration: migration, destination: address, root: ""))
    }

    private func replace(_ path: String) throws {
        unlink(path)
        _ = try RawImage.create(path: path, size: 4096)
    }

    /// An image that has moved, was moving, and was tried before, as `kind` says.
    private func remember(_ kind: String, _ records: SourceRecords) throws {
        switch kind {
        case "moved": try commit(records)
        case "migrating": try records.keep(Request())
        default: _ = try records.begin(MigrationID(), to: address)
        }
    }

    private func isRemembered(_ kind: String, _ records: SourceRecords) throws -> Bool {
        switch kind {
        case "moved": try records.moved() != nil
        case "migrating": try records.kept(Request.self) == Request()
        default: try !records.begin(MigrationID(), to: address).isEmpty
        }
    }

    private static let kinds = ["moved", "migrating", "attempt"]

    private func make(_ name: String) throws -> String {
        _ = try RawImage.create(path: scratch.file(name), size: 4096)
        return scratch.file(name)
    }

    @Test("Identity and path match", arguments: kinds)
    func both(_ kind: String) throws {
        let path = try make("a")
        try remember(kind, records(path))
        let later = try records(path)
        try later.confirmIdentity()
        #expect(try isRemembered(kind, later))
    }

    @Test("The identity stands at another path: it is the same disk", arguments: kinds)
    func elsewhere(_ kind: String) throws {
        let path = try make("a")
        try remember(kind, records(path))
        try FileManager.default.moveItem(atPath: path, toPath: scratch.file("b"))
        let later = try records(scratch.file("b"))
        try later.confirmIdentity()
        #expect(try isRemembered(kind, later))
        // The record has gone along: what stands at the old place is another disk.
        let other = try records(make("a"))
        if kind != "attempt" { try other.confirmIdentity() }
        #expect(try !isRemembered(kind, other))
    }

    @Test("The path matches and the identity does not: what would make two writers is in doubt", arguments: kinds)
    func replaced(_ kind: String) throws {
        let path = try make("a")
        try remember(kind, records(path))
        try replace(path)
        let later = try records(path)
        if kind == "attempt" {
            // That nothing came of a migration says nothing of who may serve the image.
            try later.confirmIdentity()
        } else {
            #expect(throws: DoubtfulImage.self) { try later.confirmIdentity() }
        }
        #expect(try !isRemembered(kind, later))
    }

    @Test("A link at the same path that leads to another image is in doubt, and so is an image under another link")
    func links() throws {
        let path = try make("a")
        symlink(path, scratch.file("link"))
        try commit(records(scratch.file("link")))
        unlink(scratch.file("link"))
        symlink(try make("b"), scratch.file("link"))
        #expect(throws: DoubtfulImage.self) { try records(scratch.file("link")).confirmIdentity() }
        try replace(path)
        #expect(throws: DoubtfulImage.self) { try records(path).confirmIdentity() }
    }

    @Test("Neither matches: another disk", arguments: kinds)
    func neither(_ kind: String) throws {
        try remember(kind, records(make("a")))
        let other = try records(make("b"))
        try other.confirmIdentity()
        #expect(try !isRemembered(kind, other))
    }

    @Test("What is seen at another path is not in doubt at its old one")
    func swapped() throws {
        let (a, b) = (try make("a"), try make("b"))
        let migration = MigrationID()
        try commit(records(a), migration)
        try FileManager.default.moveItem(atPath: a, toPath: scratch.file("x"))
        try FileManager.default.moveItem(atPath: b, toPath: a)
        #expect(throws: DoubtfulImage.self) { try records(a).confirmIdentity() }
        let seen = try #require(try ImageIdentity(at: scratch.file("x")))
        let other = try records(a, elsewhere: [seen])
        try other.confirmIdentity()
        // Two disks have moved from one path.
        try commit(other)
        #expect(try records(scratch.file("x")).moved()?.migration == migration)
        #expect(try other.moved() != nil && other.moved()?.migration != migration)
    }

    @Test("A record of an earlier release counts for the file that it is about, and leaves every other in doubt")
    func earlierReleases() throws {
        let path = try make("a")
        let name = StateDirectory.key("moved", path: StateDirectory.realPath(path))
        var old = try MovedRecord(
            export: "a", image: RawImage(path: path, access: .readOnly), migration: MigrationID(), destination: address,
            root: "")
        old.image = nil
        try directory().write(old, as: name)
        let later = try records(path)
        try later.confirmIdentity()
        #expect(try later.moved() != nil)
        #expect(try directory().read(MovedRecord.self, from: name)?.image?.identity != nil, "it is brought up to date")
        try FileManager.default.moveItem(atPath: path, toPath: scratch.file("b"))
        #expect(try records(scratch.file("b")).moved() != nil)
        try directory().write(old, as: name)
        #expect(throws: DoubtfulImage.self) { try records(make("a")).confirmIdentity() }
    }

    @Test("An operator's word settles a doubt, and a disowned record is still about its own image")
    func keeper() throws {
        let path = try make("a")
        try commit(records(path))
        try FileManager.default.moveItem(atPath: path, toPath: scratch.file("own"))
        _ = try make("a")
        let keeper = RecordKeeper(directory: try directory())
        #expect(try keeper.list().map(\.path) == [ImagePath.absolute(path)])
        #expect(try keeper.disown(RawImage(path: path, access: .readOnly)).count == 1)
        try records(path).confirmIdentity()
        #expect(try records(path).moved() == nil)
        #expect(try records(scratch.file("own")).moved() != nil)
        #expect(throws: RecordKeeper.NothingInDoubt.self) { try keeper.disown(RawImage(path: path, access: .readOnly)) }

        unlink(path)
        unlink(scratch.file("own"))
        let other = try records(make("c"))
        try commit(other)
        try replace(scratch.file("c"))
        #expect(try keeper.adopt(RawImage(path: scratch.file("c"), access: .readOnly)).count == 1)
        try records(scratch.file("c")).confirmIdentity()
        #expect(try records(scratch.file("c")).moved() != nil)
    }

    @Test("An image that nothing tells from others is not in any record")
    func unidentified() throws {
        let image = RecordedImage(identity: nil, path: "/dev/nothing")
        let known = RecordedImage(
            identity: ImageIdentity(device: DeviceIdentity([.serial: "s"]), size: 1), path: "/dev/x")
        #expect(!RecordHead(image: known).isAbout(image, isNamedAfterPath: true))
        #expect(!RecordHead(image: image).isAbout(image, isNamedAfterPath: true))
        #expect(!RecordHead(inode: 0).isAbout(known, isNamedAfterPath: true), "0 is every device's inode")
    }

    @Test(
        "Only the image that a disk is coming back into is not whole, and no other device",
        .enabled(if: LoopDevice.isPossible))
    func unfinishedDevice() async throws {
        let devices = LoopDevice.reserveNumbers(2)
        for (device, name) in zip(devices, ["a", "b"]) {
            try await LoopDevice.attach(scratch.hole(1 << 20, name), to: device)
        }
        let images = try devices.map { try RawImage(path: $0, access: .readOnly) }
        let file = try RawImage(path: scratch.hole(1 << 20, "c"), access: .readOnly)
        var record = IncomingRecord(phase: .active, migration: MigrationID(), export: "a", size: 1 << 20, root: "")
        record.blockSize = 4096
        record.imagePath = devices[0]
        record.inode = 0
        record.image = try RecordedImage(images[0])
        try directory().write(record, as: "incoming-x")
        #expect(try IncomingRecord.incomplete(images[0], in: directory()) != nil)
        #expect(try IncomingRecord.incomplete(images[1], in: directory()) == nil)
        #expect(try IncomingRecord.incomplete(file, in: directory()) == nil)
        // As an earlier release wrote it: it may be the one at that path, and is none of the others.
        record.image = nil
        try directory().write(record, as: "incoming-x")
        #expect(throws: DoubtfulImage.self) { try IncomingRecord.incomplete(images[0], in: directory()) }
        #expect(try IncomingRecord.incomplete(images[1], in: directory()) == nil)
        for device in devices { try await LoopDevice.detach(device) }
    }
}
