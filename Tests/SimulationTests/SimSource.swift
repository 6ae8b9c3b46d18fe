import Block
import Index
import NIOCore

@testable import Migration

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
    private(set) var moved: Moved?
    private var attempts: [MigrationID] = []

    /// Whether an earlier life of the node has forwarded changes that no flush has covered yet.
    private(set) var hasForgotten = false

    // What does not.
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
        image = SimImage(count: disk.sectorCount, name: "source", world: world)
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
                if let snapshot { image.settle(operation.isForced ? image.snapshot() : snapshot) }
                operation.finish(0, operation.kind == .read ? image.read(operation.sectors) : [])
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

    func beginAttempt(_ id: MigrationID) -> [MigrationID] {
        defer { attempts.append(id) }
        return attempts
    }

    func synchronize(_ isWanted: Bool, _ done: @escaping () -> Void) {
        guard isWanted else { return done() }
        let snapshot = image.snapshot()
        later(2500) { [self] in
            image.settle(snapshot)
            done()
        }
    }

    /// Writes the durable word; a crash may come before or after it is there.
    func commit(_ id: MigrationID, isNeeded: Bool, _ done: @escaping () -> Void) {
        let record = Moved(migration: id, isNeeded: isNeeded)
        if faults.contains(.lateWord) {
            done()
            return later(3000) { [self] in moved = record }
        }
        later(1500) { [self] in
            moved = record
            attempts = []
            later(500) { done() }
        }
    }

    func release(_ id: MigrationID, _ done: @escaping () -> Void) {
        later(1000) { [self] in
            if moved?.migration == id { moved!.isNeeded = false }
            done()
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
        hasForgotten = moved != nil
        isUp = false
        epoch += 1
        migration?.pipe?.drop(.source)
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
        if ofMachine { image.crash() }
        simulation.nodeCrashed(.source, ofMachine: ofMachine)
    }

    func restart() {
        guard !isUp else { return }
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
}
