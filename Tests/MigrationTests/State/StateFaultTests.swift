import Block
import Foundation
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// Every operation on a source's state files fails once, and each kind of them in each of the ways in which it can; with
/// `NEARBLOCK_ALL_FAULTS` set, every one of them does in each (see `FaultCases`).
///
/// | record | what holds where its change is not known to be durable | who tries again |
/// | --- | --- | --- |
/// | `moved` of one disk | the disk stays fenced, the destination is not told | `SwitchGroup.commit`; `resolveOutcome` after a restart |
/// | `moved` of a group's disk | counts for nothing without the common record | the next migration writes over it |
/// | `together`, the commit record of a group | as `moved` of one disk, for all | as there |
/// | `moved`, standing by itself | the common record stays | `makeIndependent(in:)` at the next start |
/// | `moved`, released | the destination is not told that it may forget the source | the destination comes again |
/// | `moved`, redirected | requests wait | `ForwardLink.note` |
/// | `moved`, returned | the disk is not served yet | the source that gives it back comes again |
/// | `migrating`, kept | the command fails | the operator |
/// | `migrating`, forgotten | the log and `cancel` say so | `NodeExport.forgetRequest` |
/// | `attempt` | a destination is told of a migration that it does not know, or is told twice | the next attempt |
@Suite("State files that fail", .timeLimit(.minutes(10)))
struct StateFaultTests {
    enum End: CaseIterable {
        case fails, failsDone, full, readOnly, crash, killed

        var number: Int { Self.allCases.firstIndex(of: self)! }
    }

    /// What clients and the destination have seen.
    private enum Belief: Equatable {
        case here
        case moved(MigrationID)
        /// Nobody is served, and nobody is told.
        case unknown
    }

    /// The disks of a guest, through the lives of their node.
    private final class Source: @unchecked Sendable {
        let scratch = Scratch()
        let files = FaultyStateFiles()
        let images: [RawImage]
        var belief = Belief.here
        var directory: StateDirectory
        let context: String
        /// The fault has come in an earlier life.
        var isLater = false
        /// The destination's records say, durably, that the disk has come back by this migration.
        var isBackFrom: MigrationID?
        /// The fault goes away once a switchover is in doubt.
        var isMended = true
        /// Gives the disks away at this moment.
        var giving: Task<Void, any Error>?
        let address = PeerAddress(host: "::1", port: 7)

        init(disks: Int, _ context: String) throws {
            self.context = context
            let folder = scratch.path
            images = try (0..<disks).map { try RawImage.create(path: "\(folder)/\($0).raw", size: 4096) }
            directory = try StateDirectory(path: scratch.file("state"), files: files)
        }

        var path: String { scratch.file("state") }
        var disks: [SourceRecords] { images.map { SourceRecords(directory: directory, image: $0) } }

        func moved(in directory: StateDirectory) throws -> [MigrationID?] {
            try images.map { try SourceRecords(directory: directory, image: $0).moved()?.migration }
        }

        /// Whatever a machine finds that is started again now, it goes on as this one.
        func check(_ step: String, inEveryWorld: Bool = false) throws {
            // Until the fault comes all is as without it.
            guard belief != .unknown, files.hasStruck || isLater else { return }
            for world in inEveryWorld ? files.everyWorld(of: path) : files.worlds(of: path) {
                let copy = scratch.file("world")
                try? FileManager.default.removeItem(atPath: copy)
                let directory = try StateDirectory(path: copy, files: UnflushedStateFiles())
                for (name, data) in world { try data.write(to: URL(fileURLWithPath: "\(copy)/\(name)")) }
                try SourceRecords.makeIndependent(in: directory)
                try takeBack(in: directory)
                expect(try moved(in: directory), "a crash after \(step)")
            }
            expect(try moved(in: directory), step)
        }

        /// As a node does that has taken up what its site has noted.
        private func takeBack(in directory: StateDirectory) throws {
            guard let isBackFrom else { return }
            for image in images { try SourceRecords(directory: directory, image: image).returned(from: isBackFrom) }
        }

        func expect(_ found: [MigrationID?], _ step: String) {
            switch belief {
            case .here: #expect(found.allSatisfy { $0 == nil }, "\(context): \(step): served here, and moved")
            case .moved(let id): #expect(found.allSatisfy { $0 == id }, "\(context): \(step): a forgotten switchover")
            case .unknown: break
            }
        }

        /// A life of the node begins.
        func start() throws {
            directory = try StateDirectory(path: path, files: files)
            try SourceRecords.makeIndependent(in: directory)
            for disk in disks {
                try disk.confirmIdentity()
                try disk.resolveOutcome()
            }
            try takeBack(in: directory)
            let found = try moved(in: directory)
            expect(found, "the next life")
            #expect(Set(found).count == 1, "\(context): all or none")
            belief = found[0].map { .moved($0) } ?? .here
        }

        /// Gives the disks away as `SourceMigration` does.
        func commit(_ id: MigrationID) async throws {
            let group = SwitchGroup(count: images.count)
            let before = belief
            belief = .unknown
            let task = Task { [self] in
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    for (member, disk) in disks.enumerated() {
                        tasks.addTask { [self] in
                            do { try await give(disk, member, group, id) } catch {
                                let isInDoubt = group.isInDoubt
                                group.fail(error)
                                if group.count > 1, !isInDoubt { disk.withdraw(group: group.id) }
                                throw error
                            }
                        }
                    }
                    try await tasks.waitForAll()
                }
            }
            giving = task
            let mending = Task { [self] in
                while !Task.isCancelled {
                    if isMended, group.doubt?.cause != nil, files.hasStruck { files.mend() }
                    try? await Task.sleep(for: .milliseconds(2))
                }
            }
            let result = await task.result
            mending.cancel()
            await mending.value
            switch result {
            case .success: belief = .moved(id)
            case .failure(let error):
                if !group.isInDoubt, !files.isDead { belief = before }
                throw error
            }
        }

        private func give(_ disk: SourceRecords, _ member: Int, _ group: SwitchGroup, _ id: MigrationID) async throws {
            try await group.meetBeforeFence(member)
            var record = try MovedRecord(
                export: "disk", image: disk.image, migration: id, destination: address, root: "")
            record.blockSize = 4096
            guard group.count > 1 else { return try await group.commit(member, disk.commitRecord(record)) }
            record.group = group.id
            try disk.commit(record)
            try await group.commit(member, disk.commitRecord(for: group.id))
        }

        /// Everything that a source notes of two migrations, one of which is given up.
        func play() async throws {
            try await step("start") { [self] in try start() }
            if belief == .here {
                let (lost, id) = (MigrationID(), MigrationID())
                for disk in disks {
                    try await step("begin") { [self] in _ = try disk.begin(lost, to: address) }
                    try await step("keep") { try disk.keep(["asked"]) }
                    try await step("forget the request") { try disk.forgetRequest() }
                    #expect(try disk.kept([String].self) == nil)
                    disk.gaveUp(lost)
                    try await step("begin again") { [self] in _ = try disk.begin(id, to: address) }
                    try await step("accepted") { [self] in try disk.accepted(id, by: address) }
                    try await step("keep again") { try disk.keep(["asked"]) }
                }
                try await step("commit") { [self] in try await commit(id) }
                for disk in disks { try await step("forget the attempts") { try disk.forgetAttempts() } }
                if images.count > 1 {
                    let group = try disks[0].moved()?.group
                    for disk in disks { try await step("settle") { try disk.makeIndependent() } }
                    if let group { disks[0].forget(group: group) }
                }
            }
            guard case .moved(let id) = belief else { return }
            for disk in disks { try await step("release") { try disk.release(id) } }
            for disk in disks {
                try await step("redirect") { _ = try disk.redirect(id, to: PeerAddress(host: "::1", port: 9)) }
                #expect(try disk.moved()?.isReleased == true)
            }
            // Nobody is served before it has succeeded.
            belief = .unknown
            isBackFrom = id
            for disk in disks { try await step("returned") { try disk.returned(from: id) } }
            belief = .here
            try check("returned")
        }

        /// Does something, again where it fails, as the node does; after some failures the fault goes away.
        private func step(_ name: String, _ body: () async throws -> Void) async throws {
            for attempt in 1... {
                do {
                    try await body()
                    return try check(name)
                } catch let error where !(error is FaultyStateFiles.Dead) && !files.isDead {
                    try check("\(name), which has failed")
                    guard attempt < 6 else { throw error }
                    if attempt == 3 { files.mend() }
                }
            }
        }
    }

    private func play(_ disks: Int, _ end: End, at operation: Int) async throws {
        let source = try Source(disks: disks, "\(disks), \(end) at operation \(operation)")
        source.files.strike(Self.fault(end), at: operation)
        do {
            try await source.play()
        } catch {
            guard source.files.isDead else { throw error }
            try await goOn(source, end)
        }
        #expect(source.files.operations.count > operation, "\(source.context): it was not done")
    }

    private func goOn(_ source: Source, _ end: End) async throws {
        source.files.revive()
        source.isLater = true
        // It is the first machine's operations that are walked through.
        source.files.strike(.crash, at: .max)
        if end == .killed {
            try source.start()
            try source.check("a kill")
            return try await source.play()
        }
        let belief = source.belief
        for world in source.files.worlds(of: source.path) {
            try source.files.restart(source.path, with: world)
            source.belief = belief
            try source.start()
            try source.check("a crash")
        }
        try await source.play()
    }

    @Test(
        "A switchover is there or it is not, whichever operation of the source fails", arguments: [1, 2], End.allCases)
    func source(disks: Int, end: End) async throws {
        let clean = try Source(disks: disks, "no fault")
        try await clean.play()
        let operations = clean.files.operations
        for kind in ["moved.json", "attempt.json", "migrating.json"] + (disks > 1 ? ["together.json"] : []) {
            #expect(operations.contains { $0.hasSuffix(kind) }, "nothing of \(kind) is walked through")
        }
        for number in FaultCases.numbers(operations, kind: end.number, of: End.allCases.count) {
            try await play(disks, end, at: number)
        }
    }

    @Test(
        "Disks that were in doubt when their node was killed have moved or have not, all of them, in every world that follows",
        arguments: [1, 2], ["rename", "unlink"])
    func killedInDoubt(disks: Int, last: String) async throws {
        let word = disks > 1 ? "together.json" : "moved.json"
        for number in 0... {
            let source = try Source(
                disks: disks, "\(disks), killed after the \(last), and a crash at operation \(number)")
            try source.start()
            let id = MigrationID()
            for disk in source.disks { _ = try disk.begin(id, to: source.address) }
            source.files.strike(.flushes(EIO, endsAfter: "\(last) \(word)"), after: "rename \(word)")
            source.isMended = false
            let committing = Task { try await source.commit(id) }
            try await waitUntil("it is killed") { source.files.isDead }
            source.giving?.cancel()
            await #expect(throws: MigrationError.self) { try await committing.value }
            source.files.mend()
            source.isLater = true
            #expect(source.belief == .unknown)
            source.files.strike(.crash, at: source.files.operations.count + number)
            do {
                try source.start()
                guard !source.files.hasStruck else { continue }
                try source.check("a kill", inEveryWorld: true)
                #expect(number > 3, "nothing was walked through")
                return
            } catch {
                guard source.files.isDead else { throw error }
            }
            for world in source.files.everyWorld(of: source.path) {
                try source.files.restart(source.path, with: world)
                source.belief = .unknown
                try source.start()
                try source.check("a crash", inEveryWorld: true)
            }
        }
    }

    @Test("An operator's word on a record never loses it, whichever operation fails", arguments: End.allCases)
    func operatorsWord(end: End) async throws {
        let clean = FaultyStateFiles()
        try decide(clean, end, "no fault")
        for number in FaultCases.numbers(clean.operations, kind: end.number, of: End.allCases.count) {
            let files = FaultyStateFiles()
            files.strike(Self.fault(end), at: number)
            try decide(files, end, "\(end) at \(number), \(clean.operations[number])")
        }
    }

    private static func fault(_ end: End) -> FaultyStateFiles.Fault {
        switch end {
        case .fails: .fails(EIO)
        case .failsDone: .failsDone(EIO)
        case .full: .stays(ENOSPC)
        case .readOnly: .stays(EROFS)
        case .crash, .killed: .crash
        }
    }

    /// A disk has moved, and another one stands at its path: once it is said to be the same, once to be another.
    private func decide(_ files: FaultyStateFiles, _ end: End, _ context: String) throws {
        let scratch = Scratch()
        let (path, state) = (scratch.file("disk.raw"), scratch.file("state"))
        var image = try RawImage.create(path: path, size: 4096)
        let id = MigrationID()
        var record = try MovedRecord(
            export: "disk", image: image, migration: id, destination: PeerAddress(host: "::1", port: 7), root: "")
        record.blockSize = 4096
        var isThere = false
        func directory() throws -> StateDirectory { try StateDirectory(path: state, files: files) }
        func attempt(_ body: () throws -> Void) throws {
            for attempt in 1... {
                do { return try body() } catch is RecordKeeper.NothingInDoubt {
                    // Half of it had been done.
                    return
                } catch {
                    if files.isDead {
                        files.revive()
                        files.strike(.crash, at: .max)
                        if end == .crash {
                            for world in files.worlds(of: state) {
                                try files.restart(state, with: world)
                                if isThere { try check(files, id, state, context) }
                            }
                        }
                    }
                    guard attempt < 6 else { throw error }
                    if attempt == 3 { files.mend() }
                }
                if isThere { try check(files, id, state, context) }
            }
        }
        try attempt {
            let records = SourceRecords(directory: try directory(), image: image)
            try records.commit(record)
        }
        isThere = true
        for isSame in [true, false] {
            unlink(path)
            image = try RawImage.create(path: path, size: 4096)
            try attempt {
                let keeper = RecordKeeper(directory: try directory())
                _ = isSame ? try keeper.adopt(image) : try keeper.disown(image)
            }
            try check(files, id, state, context)
        }
        #expect(try SourceRecords(directory: directory(), image: image).moved() == nil, "\(context): it is another one")
    }

    private func check(_ files: FaultyStateFiles, _ id: MigrationID, _ path: String, _ context: String) throws {
        for world in files.worlds(of: path) {
            let scratch = Scratch()
            for (name, data) in world { try data.write(to: URL(fileURLWithPath: scratch.file(name))) }
            let directory = try StateDirectory(path: scratch.path, files: UnflushedStateFiles())
            let found = try directory.readAll(MovedRecord.self, prefix: "moved-")
            #expect(found.map(\.record.migration) == [id], "\(context): \(found.map(\.name))")
        }
    }
}
