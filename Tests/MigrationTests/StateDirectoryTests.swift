import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration

@Suite("Durable records")
struct StateDirectoryTests {
    @Test("A record is read back by a later life, and a damaged one is an error and never none")
    func records() throws {
        let scratch = Scratch()
        let directory = try StateDirectory(path: scratch.file("deep/state"))
        let migration = MigrationID()
        let record = AttemptRecord(
            attempts: [.init(migration: migration, destination: PeerAddress(host: "::1", port: 7))])
        try directory.write(record, as: "attempt-x")
        let later = try StateDirectory(path: scratch.file("deep/state"))
        #expect(try later.read(AttemptRecord.self, from: "attempt-x")?.attempts.first?.migration == migration)
        #expect(try later.read(AttemptRecord.self, from: "attempt-y") == nil)
        try Data("{".utf8).write(to: URL(fileURLWithPath: scratch.file("deep/state/attempt-x.json")))
        #expect(throws: DamagedRecord.self) { try later.read(AttemptRecord.self, from: "attempt-x") }
        later.remove("attempt-x")
        #expect(try later.read(AttemptRecord.self, from: "attempt-x") == nil)
    }

    @Test("An image has moved only as long as it is the very image that did")
    func movedImage() throws {
        let scratch = Scratch()
        let path = scratch.file("disk.raw")
        let records = SourceRecords(
            directory: try StateDirectory(path: scratch.file("state")),
            image: try RawImage.create(path: path, size: 4096))
        #expect(try records.moved() == nil)
        let root = DiskRoot(Array(repeating: 1, count: 32))
        let migration = MigrationID()
        let address = PeerAddress(host: "::1", port: 7)
        #expect(try records.begin(migration, to: address) == [])
        #expect(try records.begin(MigrationID(), to: PeerAddress(host: "::1", port: 8)) == [])
        let later = MigrationID()
        #expect(
            try records.begin(later, to: address) == [migration],
            "what was tried with another node is not told")
        #expect(try records.begin(MigrationID(), to: address) == [migration, later])
        try records.commit(
            export: "disk", migration: migration, destination: address, root: root)
        #expect(try records.moved()?.migration == migration)
        #expect(try records.begin(MigrationID(), to: address) == [], "what came to its end is not given up")
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try handle.write(contentsOf: Data([1]))
        try handle.close()
        #expect(try records.moved()?.migration == migration, "whatever is done to the file, it has moved")

        unlink(path)
        let other = SourceRecords(
            directory: try StateDirectory(path: scratch.file("state")),
            image: try RawImage.create(path: path, size: 4096))
        #expect(try other.moved() == nil, "a new image at the old path has not moved")
    }
}
