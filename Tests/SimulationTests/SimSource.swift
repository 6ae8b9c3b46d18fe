import Block
import Glibc
import Index
import NIOCore

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// The node that has the disk at first: its clients' port, its records, and at most one migration.
final class SimSource: SimPart {
    /// What is written down about a disk that was given away.
    struct Moved {
        var migration: MigrationID
        var isNeeded: Bool
    }

    let world: World
    let disk: SimDisk
    let image: SimImage
    let faults: Faults
    unowned let simulation: Simulation

    // What survives the process.
    private let store: SimStore
    private var movedRecord = SimRecord<Moved?>(nil)
    private var attempts = SimRecord<[MigrationID]>([])

    /// Whether an earlier life of the node has forwarded changes that no flush has covered yet.
    private(set) var hasForgotten = false

    // What does not.
    /// The disk has been given away, for certain.
    private(set) var moved: Moved?
    private var commitAttempt: CommitAttempt?
    private var isCommitWithdrawn = false
    private(set) var isUp = true
    private(set) var epoch = 0
    private var isFenced = false
    private var inFlight = 0
    private var held: [GuestOperation] = []
    private var whenQuiet: (() -> Void)?
    private var dirtyMap: DirtyMap?
    private(set) var migration: SimMigration?
    private(set) var forward: SimForward?
    private(set) var supply: SimSupply?

    init(_ simulation: Simulation, contents: [UInt32]) {
        self.simulation = simulation
        world = simulation.world
        disk = simulation.disk
        faults = simulation.faults
        image = SimImage(count: disk.sectorCount, name: "source", world: world, faults: faults)
        store = SimStore(name: "source", world: world)
        image.fill(contents)
        world.add(self)
    }

    func letGo() {
        held = []
        whenQuiet = nil
        migration = nil
        forward = nil
        supply = nil
    }

    /// Does something later, in this life of the node.
    func later(_ most: UInt64, _ action: @escaping () -> Void) {
        let born = epoch
        world.soon(most) { [self] in if epoch == born, isUp { action() } }
    }

    func exactly(_ delay: UInt64, _ action: @escaping () -> Void) {
        let born = epoch
        world.after(delay) { [self] in if epoch == born, isUp { action() } }
    }

    // MARK: Clients

    func submit(_ operation: GuestOperation) {
        if isFenced { return held.append(operation) }
        inFlight += 1
        if let forward, moved != nil { return forward.forward(operation) { [self] in ended() } }
        perform(operation)
    }

    private func perform(_ operation: GuestOperation) {
        if operation.isChange {
            world.check(moved == nil, "invariant 5: the source writes to a disk that it has given away")
            world.check(!simulation.destination.isServing, "invariant 5: two writers")
        }
        let half = operation.values.count / 2
        later(200) { [self] in
            if operation.isChange {
                image.write(operation.values, at: operation.sectors.lowerBound, from: 0, to: half)
            }
            let snapshot = operation.kind == .flush || operation.isForced ? image.snapshot() : nil
            later(operation.kind == .flush ? 2000 : world.chance(5) ? 20_000 : 300) { [self] in
                if operation.isChange {
                    image.write(
                        operation.values, at: operation.sectors.lowerBound, from: half, to: operation.values.count)
                    if !faults.contains(.unmarkedWrites) {
                        dirtyMap?.mark(offset: operation.bytes.lowerBound, length: UInt64(operation.bytes.count))
                    }
                }
                let isDurable =
                    snapshot.map { image.settle(operation.isForced ? image.snapshot() : $0) } ?? true
                operation.finish(
                    isDurable ? 0 : EIO, operation.kind == .read ? image.read(operation.sectors) : [])
                ended()
            }
        }
    }

    private func ended() {
        inFlight -= 1
        quietIfSo()
    }

    // MARK: What a migration does with the disk

    func track(_ map: DirtyMap?) { dirtyMap = map }

    func fence(_ quiet: @escaping () -> Void) {
        isFenced = true
        whenQuiet = quiet
        if faults.contains(.unfenced) {
            whenQuiet = nil
            return quiet()
        }
        quietIfSo()
    }

    private func quietIfSo() {
        guard isFenced, inFlight == 0, let quiet = whenQuiet else { return }
        whenQuiet = nil
        quiet()
    }

    func unfence() {
        isFenced = false
        let operations = held
        held = []
        for operation in operations { submit(operation) }
    }

    /// - Returns: the attempts before this one; nil where this one could not be noted, and must not begin.
    func beginAttempt(_ id: MigrationID) -> [MigrationID]? {
        let earlier = attempts.visible
        return attempts.write(earlier + [id], store, world) == .confirmed ? earlier : nil
    }

    /// Makes the image durable, and tells whether it is.
    func synchronize(_ done: @escaping (Bool) -> Void) {
        let snapshot = image.snapshot()
        later(2500) { [self] in done(image.settle(snapshot)) }
    }

    /// Writes the durable word; a crash may come before or after it is there.
    /// - Parameter done: told, once that is certain, whether it is there.
    func commit(_ id: MigrationID, isNeeded: Bool, _ done: @escaping (Bool) -> Void) {
        let record = Moved(migration: id, isNeeded: isNeeded)
        if faults.contains(.lateWord) {
            done(true)
            return later(3000) { [self] in
                movedRecord = SimRecord(record)
                moved = record
            }
        }
        commitAttempt = CommitAttempt()
        isCommitWithdrawn = false
        step(record, done)
    }

    /// The disk shall stay, where the word is not given yet.
    func withdrawCommit() { isCommitWithdrawn = true }

    private func step(_ record: Moved, _ done: @escaping (Bool) -> Void) {
        later(1500) { [self] in
            // Between two steps: what is being done now ends as what it is.
            if isCommitWithdrawn { commitAttempt!.withdraw() }
            let outcome = movedRecord.write(commitAttempt!.next == .write ? record : nil, store, world)
            later(500) { [self] in
                let verdict = commitAttempt!.ended(outcome)
                switch verdict {
                case .there:
                    moved = record
                    _ = attempts.write([], store, world)
                case .unknown(let pause) where !faults.contains(.forgottenCommit):
                    return exactly(UInt64(pause) * 1000 + 1) { [self] in step(record, done) }
                case .gone, .unknown: break
                }
                commitAttempt = nil
                done(verdict == .there)
            }
        }
    }

    /// Notes that the destination has everything, and tells whether that is noted.
    func release(_ id: MigrationID, _ done: @escaping (Bool) -> Void) {
        later(1000) { [self] in
            guard moved?.migration == id, moved!.isNeeded else { return done(true) }
            let isNoted =
                movedRecord.write(Moved(migration: id, isNeeded: false), store, world) == .confirmed
            if isNoted { moved!.isNeeded = false }
            done(isNoted)
        }
    }

    func gaveAway(_ forward: SimForward, _ supply: SimSupply?) {
        self.forward = forward
        self.supply = supply
    }

    /// The destination has made everything durable that was forwarded before.
    func remembersAll() { hasForgotten = false }

    func migrationEnded() { migration = nil }

    // MARK: Operators and faults

    func migrate(_ switchover: Switchover) {
        guard isUp, migration == nil, moved == nil else { return }
        migration = SimMigration(self, switchover)
        migration!.begin()
    }

    func crash(ofMachine: Bool) {
        guard isUp else { return }
        world.note("source \(ofMachine ? "machine" : "process") crashes")
        isUp = false
        epoch += 1
        migration?.processEnded()
        forward?.drop()
        supply?.drop()
        migration = nil
        forward = nil
        supply = nil
        isFenced = false
        inFlight = 0
        held = []
        whenQuiet = nil
        dirtyMap = nil
        commitAttempt = nil
        let hasFailed = image.hasFailed
        if ofMachine {
            image.crash()
            movedRecord.crash(world)
            attempts.crash(world)
        } else if hasFailed {
            image.reopen()
        }
        moved = movedRecord.visible
        hasForgotten = moved != nil
        simulation.nodeCrashed(.source, ofMachine: ofMachine, withFailedDisk: hasFailed)
    }

    func restart() {
        guard !isUp else { return }
        // What is acted upon must be what a later life finds, too.
        if movedRecord.isInDoubt, !faults.contains(.trustedRecord) {
            guard movedRecord.write(movedRecord.visible, store, world) == .confirmed else {
                return world.after(10_000) { [self] in restart() }
            }
        }
        isUp = true
        world.note("source starts")
        guard let moved else { return }
        forward = SimForward(self, moved.migration, isCommitted: true, isResumed: true)
        forward!.start()
        if moved.isNeeded {
            supply = SimSupply(self, moved.migration, isCommitted: true)
            supply!.start()
        }
    }

    var isReleased: Bool { moved?.isNeeded == false }

    /// The state store fails for a while.
    func failStore(for time: UInt64) { store.fail(for: time) }

    func mendDisk() {
        store.mend()
        image.mend()
    }
}
