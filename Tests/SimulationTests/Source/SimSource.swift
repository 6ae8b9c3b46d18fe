import Block
import Glibc
import Index
import NIOCore

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// A disk at the node that has it at first: its clients' port, its records, and at most one migration.
final class SimSource: SimPart {
    /// What is written down about a disk that was given away.
    struct Moved {
        var migration: MigrationID
        var isNeeded: Bool
        /// The record counts only where the commit record of this group is there.
        var group: MigrationID?
    }

    let world: World
    let disk: SimDisk
    let image: SimImage
    let faults: Faults
    unowned let simulation: SimMove

    // What survives the process.
    private var store: SimStore { node.store }
    private var movedRecord = SimRecord<Moved?>(nil)
    private var attempts = SimRecord<[MigrationID]>([])

    /// Whether an earlier life of the node has forwarded changes that no flush has covered yet.
    private(set) var hasForgotten = false

    // What does not.
    /// The disk has been given away, for certain.
    private(set) var moved: Moved?
    private(set) var isUp = true
    private(set) var epoch = 0
    private var isFenced = false
    private var inFlight = 0
    private var held: [GuestOperation] = []
    private var whenQuiet: (() -> Void)?
    private var dirtyMap: DirtyMap?
    private(set) var migration: SimMigration?
    /// The migration by which this life of the node has given the disk away.
    private var given: SimMigration?
    /// Told once that the destination needs nothing any more.
    private var whenReleased: () -> Void = {}
    private(set) var forward: SimForward?
    private(set) var supply: SimSupply?

    init(_ simulation: SimMove, contents: [UInt32]) {
        self.simulation = simulation
        world = simulation.world
        disk = simulation.disk
        faults = simulation.faults
        image = SimImage(count: disk.sectorCount, name: "source", world: world, faults: faults)
        image.fill(contents)
        world.add(self)
    }

    func letGo() {
        held = []
        whenQuiet = nil
        migration = nil
        given = nil
        forward = nil
        supply = nil
        whenReleased = {}
    }

    var node: SimSourceNode { simulation.node }

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
            world.check(
                node.disks.allSatisfy { $0.moved == nil }, "the source writes to a disk whose group it has given away")
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

    /// Writes or removes the record by which the disk is given away; a crash may come before or after it is there.
    func write(_ record: Moved?) -> CommitAttempt.Outcome { movedRecord.write(record, store, world) }

    /// The disk is given away for certain.
    func gave(_ record: Moved) {
        moved = record
        _ = attempts.write([], store, world)
    }

    /// The commit record of the group is not there, for certain.
    func withdraw() {
        if movedRecord.visible?.group != nil { _ = write(nil) }
    }

    /// Makes the record stand by itself, where it counts by that of a group.
    /// - Parameter group: its own, in an earlier life of the node; then one that stands by itself may be in doubt.
    /// - Returns: false where it may not be durable.
    func separate(from group: MigrationID) -> Bool {
        guard var record = movedRecord.visible, record.group == nil || record.group == group else { return true }
        guard record.group != nil || movedRecord.isInDoubt else { return true }
        record.group = nil
        guard write(record) == .confirmed else { return false }
        moved?.group = nil
        return true
    }

    /// Notes that the destination has everything, and tells whether that is noted.
    func release(_ id: MigrationID, _ done: @escaping (Bool) -> Void) {
        later(1000) { [self] in
            guard moved?.migration == id, moved!.isNeeded else { return done(true) }
            let isNoted =
                write(Moved(migration: id, isNeeded: false, group: moved!.group)) == .confirmed
            if isNoted {
                moved!.isNeeded = false
                whenReleased()
            }
            done(isNoted)
        }
    }

    func gaveAway(_ forward: SimForward, _ supply: SimSupply?) {
        self.forward = forward
        self.supply = supply
        given = migration
    }

    /// The migration whose blocks the destination has, or will have; nil if there is none.
    var agreed: SimMigration? { migration.flatMap { $0.wasAccepted ? $0 : nil } ?? given }

    /// The destination has made everything durable that was forwarded before.
    func remembersAll() { hasForgotten = false }

    func began(_ migration: SimMigration) { self.migration = migration }
    func migrationEnded() { migration = nil }

    /// The destination has said that it serves the disk.
    /// - Parameter released: called once it has everything.
    func isActive(_ released: @escaping () -> Void) {
        whenReleased = released
        if isReleased { released() }
    }

    // MARK: Lives

    /// The process goes down, perhaps with the machine.
    func processEnded(ofMachine: Bool) {
        isUp = false
        epoch += 1
        migration?.processEnded()
        forward?.drop()
        supply?.drop()
        migration = nil
        given = nil
        forward = nil
        supply = nil
        whenReleased = {}
        isFenced = false
        inFlight = 0
        held = []
        whenQuiet = nil
        dirtyMap = nil
    }

    /// The processes of all disks are down, and the common records are what they are.
    func crashed(ofMachine: Bool) {
        let hasFailed = image.hasFailed
        if ofMachine {
            image.crash()
            movedRecord.crash(world)
            attempts.crash(world)
        } else if hasFailed {
            image.reopen()
        }
        moved = recorded
        hasForgotten = moved != nil
        simulation.nodeCrashed(.source, ofMachine: ofMachine, withFailedDisk: hasFailed)
    }

    /// What the records say now.
    private var recorded: Moved? {
        guard let record = movedRecord.visible, let group = record.group else { return movedRecord.visible }
        if faults.contains(.believedCommon), node.disks[0] === self { return record }
        return node.isCommitted(group) ? record : nil
    }

    /// What is acted upon must be what a later life finds, too.
    /// - Returns: false where it may not be.
    func settleRecord() -> Bool {
        if movedRecord.visible?.group != nil, recorded == nil { return write(nil) == .confirmed }
        guard movedRecord.isInDoubt, !faults.contains(.trustedRecord) else { return true }
        return write(movedRecord.visible) == .confirmed
    }

    func start() {
        isUp = true
        moved = recorded
        guard let moved else { return }
        forward = SimForward(self, moved.migration, isCommitted: true, isResumed: true)
        forward!.start()
        if moved.isNeeded {
            supply = SimSupply(self, moved.migration, isCommitted: true)
            supply!.start()
        }
    }

    var isReleased: Bool { moved?.isNeeded == false }
}
