import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

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
        try later.remove("attempt-x")
        #expect(try later.read(AttemptRecord.self, from: "attempt-x") == nil)
    }

    @Test("Temporary files of killed processes -> removed where they are old and nobody else's; all others stay")
    func leftovers() async throws {
        let scratch = Scratch()
        let directory = try StateDirectory(path: scratch.path)
        let hex = String(repeating: "0123456789abcdef", count: 2)
        let ended = try ChildProcess("/bin/true", [])
        _ = try await onThread { ended.waitUntilExit() }
        let gone = ended.processIdentifier
        func setAge(_ name: String, _ seconds: Int) throws {
            var times = [timeval](repeating: timeval(tv_sec: time(nil) - seconds, tv_usec: 0), count: 2)
            try #require(utimes(scratch.file(name), &times) == 0)
        }
        func make(_ name: String, age: Int = 4000) throws {
            _ = try scratch.write([], to: name)
            try setAge(name, age)
        }
        let removed = [
            "manifest-\(hex).tmp", "moved-\(hex).json.\(gone).tmp", "together-\(hex).json.\(getpid()).tmp",
        ]
        let old = [
            "moved-\(hex).json", "moved-\(hex).json.1.tmp", "moved-\(hex).json.tmp", "moved-\(hex).json.-5.tmp",
            "moved-\(hex).\(gone).tmp", "moved.json.\(gone).tmp", "notes.\(gone).tmp", "lock", "manifest-x.tmp",
        ]
        let young = "attempt-\(hex).json.\(gone).tmp"
        for name in removed + old { try make(name) }
        try make(young, age: 3000)
        let folder = "attempt-\(hex).json.\(getpid()).tmp"
        try FileManager.default.createDirectory(atPath: scratch.file(folder), withIntermediateDirectories: false)
        try setAge(folder, 4000)
        #expect(directory.removeLeftovers() == removed.sorted())
        let left = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(Set(left) == Set(old + [young, folder]))
        #expect(directory.removeLeftovers() == [])
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
        try records.accepted(later, by: address)
        #expect(try records.begin(migration, to: address) == [later], "it has dropped the others")
        try records.commit(
            MovedRecord(
                export: "disk", image: records.image, migration: migration, destination: address, root: root.description
            ))
        try records.forgetAttempts()
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
        #expect(try other.moved() == nil, "a new image at the old path has not moved, as far as anybody knows")
        #expect(throws: DoubtfulImage.self) { try other.confirmIdentity() }
    }

    @Test("Invariant 5: disks that go together have moved once their common word is there, and not before")
    func movedTogether() throws {
        let scratch = Scratch()
        let directory = try StateDirectory(path: scratch.file("state"))
        let group = MigrationID()
        let disks = try ["a", "b"].map { name in
            SourceRecords(
                directory: directory, image: try RawImage.create(path: scratch.file("\(name).raw"), size: 4096))
        }
        func commit(_ records: SourceRecords, in group: MigrationID) throws {
            var record = try MovedRecord(
                export: "disk", image: records.image, migration: MigrationID(),
                destination: PeerAddress(host: "::1", port: 7), root: "")
            record.group = group
            try records.commit(record)
        }
        func moved() throws -> [Bool] { try disks.map { try $0.moved() != nil } }
        for disk in disks { try commit(disk, in: group) }
        #expect(try moved() == [false, false])
        try SourceRecords.makeIndependent(in: directory)
        #expect(try moved() == [false, false], "a start does not give the word")
        disks[0].withdraw(group: MigrationID())
        try disks[1].commit(group: group)
        #expect(try moved() == [true, true])
        try disks[0].makeIndependent()
        #expect(try moved() == [true, true])
        try SourceRecords.makeIndependent(in: directory)
        #expect(try moved() == [true, true])
        #expect(try disks.allSatisfy { try $0.moved()?.group == nil })
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: scratch.file("state")).allSatisfy {
                $0.hasPrefix("moved")
            }, "nothing is left of the word")

        let next = MigrationID()
        let other = SourceRecords(
            directory: directory, image: try RawImage.create(path: scratch.file("c.raw"), size: 4096))
        try commit(other, in: next)
        other.withdraw(group: next)
        try other.commit(group: next)
        #expect(try other.moved() == nil, "what was withdrawn does not come back")
    }
}
