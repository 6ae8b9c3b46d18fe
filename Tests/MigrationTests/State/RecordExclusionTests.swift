import Block
import Foundation
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Changes of records at the same time", .timeLimit(.minutes(2)))
struct RecordExclusionTests {
    private let scratch = Scratch()
    private let address = PeerAddress(host: "::1", port: 7)

    private func image(_ name: String) throws -> RawImage {
        try RawImage.create(path: scratch.file("\(name).raw"), size: 4096)
    }

    private func give(_ records: SourceRecords, _ id: MigrationID = MigrationID()) throws {
        var record = try MovedRecord(
            export: "disk", image: records.image, migration: id, destination: address, root: "")
        record.blockSize = 4096
        try records.commit(record)
    }

    @Test("A change that comes while where the image stands is noted is not undone by that note")
    func noteStanding() async throws {
        let files = HookedStateFiles()
        let directory = try StateDirectory(path: scratch.file("state"), files: files)
        let image = try image("disk")
        let id = MigrationID()
        try give(SourceRecords(directory: directory, image: image), id)
        let later = scratch.file("later.raw")
        #expect(rename(image.path, later) == 0)
        let moved = SourceRecords(directory: directory, image: try RawImage(path: later, access: .readOnly))
        let isFirst = NIOLockedValueBox(true)
        let done = DispatchSemaphore(value: 0)
        files.hook(create: { _ in
            guard
                isFirst.withLockedValue({ isFirst in
                    defer { isFirst = false }
                    return isFirst
                })
            else { return }
            Thread.detachNewThread {
                do { try moved.release(id) } catch { Issue.record(error) }
                done.signal()
            }
            // It comes between the look and the change, unless it is kept off.
            if done.wait(timeout: .now() + .milliseconds(300)) == .success { done.signal() }
        })
        try await onThread {
            try moved.confirmIdentity()
            done.wait()
        }
        #expect(!isFirst.withLockedValue { $0 }, "where it stands was not noted")
        #expect(try moved.moved()?.isReleased == true)
    }

    @Test("A flush that succeeds confirms nothing that an overlapping one has failed on")
    func overlapping() async throws {
        let files = HookedStateFiles()
        let directory = try StateDirectory(path: scratch.file("state"), files: files)
        let count = NIOLockedValueBox(0)
        let (first, second) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let ended = DispatchSemaphore(value: 0)
        files.hook(flush: {
            let number = count.withLockedValue { count in
                count += 1
                return count
            }
            if number == 1 {
                first.signal()
                second.wait()
                // The other write ends before this one has failed, unless it waits.
                _ = ended.wait(timeout: .now() + .milliseconds(300))
                throw FileError("flush", "state", code: EIO)
            }
            second.signal()
        })
        let failing = Task { try await onThread { try directory.write(["a"], as: "moved-a") } }
        try await onThread { first.wait() }
        let overlapping = Task {
            try await onThread {
                defer { ended.signal() }
                try directory.write(["b"], as: "moved-b")
            }
        }
        await #expect(throws: UncertainRecord.self) { try await failing.value }
        await #expect(throws: UncertainRecord.self) { try await overlapping.value }
        files.hook()
        try directory.write(["b"], as: "moved-b")
    }

    @Test("A disk that comes back leaves the records of others alone whose removal has failed")
    func returned() throws {
        let files = FaultyStateFiles()
        let directory = try StateDirectory(path: scratch.file("state"), files: files)
        let disks = try ["a", "b"].map { SourceRecords(directory: directory, image: try image($0)) }
        let ids = [MigrationID(), MigrationID()]
        for (disk, id) in zip(disks, ids) { try give(disk, id) }
        files.strike(.fails(EIO), at: files.operations.count + 1)
        #expect(throws: UncertainRecord.self) { try disks[0].returned(from: ids[0]) }
        let count = files.operations.count
        try disks[1].returned(from: MigrationID())
        #expect(files.operations.count == count, "\(files.operations[count...])")
        try disks[0].returned(from: ids[0])
        #expect(files.operations.count > count, "its own is removed again")
        for world in files.worlds(of: directory.scratch) {
            #expect(world.keys.filter { $0.hasSuffix(".json") }.count == 1)
        }
    }

    @Test("Invariant 5: a group's record that may not be durable -> it is, before anybody acts on it")
    func groupInDoubt() throws {
        let files = FaultyStateFiles()
        let directory = try StateDirectory(path: scratch.file("state"), files: files)
        let images = try ["a", "b"].map { try image($0) }
        let group = MigrationID()
        let disks = images.map { SourceRecords(directory: directory, image: $0) }
        for disk in disks {
            let id = MigrationID()
            _ = try disk.begin(id, to: address)
            var record = try MovedRecord(
                export: "disk", image: disk.image, migration: id, destination: address, root: "")
            record.group = group
            try disk.commit(record)
        }
        // The flush of the directory, behind three operations on the file and the rename.
        files.strike(.fails(EIO), at: files.operations.count + 4)
        #expect(throws: UncertainRecord.self) { try disks[0].commit(group: group) }
        // The next life could not make the records stand by themselves.
        let later = try StateDirectory(path: directory.scratch, files: files)
        for image in images { try SourceRecords(directory: later, image: image).resolveOutcome() }
        for world in files.everyWorld(of: directory.scratch) {
            let found = Scratch()
            for (name, data) in world { try data.write(to: URL(fileURLWithPath: found.file(name))) }
            let directory = try StateDirectory(path: found.path, files: UnflushedStateFiles())
            for image in images { #expect(try SourceRecords(directory: directory, image: image).moved() != nil) }
        }
    }

    @Test("Whether a record is there is asked of the files that may fail")
    func exists() throws {
        let files = FaultyStateFiles()
        let directory = try StateDirectory(path: scratch.file("state"), files: files)
        try directory.write(["a"], as: "moved-a")
        #expect(try directory.exists("moved-a"))
        files.kill()
        #expect(throws: FaultyStateFiles.Dead.self) { try directory.exists("moved-a") }
    }

    @Test(
        "A directory whose file system has no flush of directories is durable as it is; one that is not there is an error"
    )
    func flushes() {
        #expect(throws: Never.self) { try SystemStateFiles().flush(directory: "/proc") }
        #expect(throws: FileError.self) { try SystemStateFiles().flush(directory: scratch.file("none")) }
    }
}
