import Block
import Glibc
import Index
import NIOCore

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// The node that the disk comes to: performs what `ArrivalMachine`, `DestinationMachine`, `PostCopyScheduler` and
/// `BackgroundFill` say, as `IncomingDiskRegistry`, `DestinationMigration` and `PostCopy` do, in simulated time.
final class SimDestination: SimPart {
    static let export = "disk"

    /// The durable record of a disk that has been prepared here, or more.
    struct Record {
        var isActive = false
        let migration: MigrationID
        let root: DiskRoot
        var needsSource: Bool

        func arrival(size: UInt64) -> ArrivalRecord {
            ArrivalRecord(
                migration: migration, export: SimDestination.export, size: size, isCommitted: isActive,
                isReturn: false, known: [migration])
        }
    }

    let world: World
    let disk: SimDisk
    let image: SimImage
    let faults: Faults
    unowned let simulation: SimMove
    /// Blocks that can be had here.
    let neighbour: Set<Fingerprint>

    // Survives the process and the machine.
    let store: SimStore
    var recordStore = SimRecord<Record?>(nil)
    private var durablePages: [Int: MapPage] = [:]
    private var boot: UInt64 = 1
    private var durableManifest: [Fingerprint]
    var hasPartialImage = false

    // Survives the process.
    /// Clients have been served.
    var hasServed = false
    private var manifest: [Fingerprint]
    var liveMap: DurablePresentMap?

    // Ends with the process.
    private(set) var isUp = true
    private(set) var epoch = 0
    var machine = ArrivalMachine<Int>()
    var arrivals: [MigrationID: SimArrival] = [:]
    /// The records as this life of the node knows them.
    var records: [MigrationID: Record] = [:]
    var connections: [ArrivalConnection: SimPipe] = [:]
    var nextConnection: UInt64 = 0
    var watches: [ArrivalWait: () -> Void] = [:]
    var diskWaits: [ArrivalWait: (Bool) -> Void] = [:]
    /// Calls for when an activation that is under way ends, each with whether it has succeeded.
    var activationWaits: [MigrationID: [(Bool) -> Void]] = [:]
    var resolving: SimPostCopy?
    var channels: [PostCopyChannel: SimPipe] = [:]
    var channelsMigration: MigrationID?
    /// Requests of clients from before the switchover.
    var early: [GuestOperation] = []
    var earlyReads: [UInt64: GuestOperation] = [:]
    var nextEarlyRead: UInt64 = 0
    var wantsSwitch = false
    /// There is no room for what arrives.
    private(set) var isFull = false
    /// There once was none, so that the guest may hear of it.
    private(set) var hasBeenFull = false

    init(_ simulation: SimMove, neighbour: Set<Fingerprint>) {
        self.simulation = simulation
        self.neighbour = neighbour
        world = simulation.world
        disk = simulation.disk
        faults = simulation.faults
        image = SimImage(count: disk.sectorCount, name: "destination", world: world, faults: faults)
        store = SimStore(name: "destination", world: world)
        manifest = Array(repeating: .zero, count: Int(disk.geometry.blockCount))
        durableManifest = manifest
        world.add(self)
    }

    func letGo() {
        arrivals = [:]
        connections = [:]
        watches = [:]
        diskWaits = [:]
        activationWaits = [:]
        resolving = nil
        channels = [:]
        early = []
        earlyReads = [:]
    }

    var isServing: Bool { machine.migration(of: Self.export).flatMap { machine.served($0) } != nil }
    var isAnsweringEarly: Bool { machine.isAnswered(Self.export) }
    var welcome: Message { .welcome(Welcome(blockSize: 0, boot: boot)) }

    /// Leaves no room for a while.
    func fillUp(for time: UInt64) {
        isFull = true
        hasBeenFull = true
        world.after(time) { [self] in isFull = false }
    }

    func later(_ most: UInt64, _ action: @escaping () -> Void) {
        let born = epoch
        world.soon(most) { [self] in if epoch == born, isUp { action() } }
    }

    // MARK: What the machine orders

    func perform(_ actions: [ArrivalMachine<Int>.Action]) {
        for action in actions {
            switch action {
            case .close(let connection): connections[connection]?.cut()
            case .wake(let wait): watches.removeValue(forKey: wait)?()
            case .answer(let wait, let disk): diskWaits.removeValue(forKey: wait)?(disk != nil)
            case .forget(let migration, _): records[migration] = nil
            }
        }
    }

    func register(_ pipe: SimPipe) -> ArrivalConnection {
        nextConnection += 1
        let number = ArrivalConnection(number: nextConnection)
        connections[number] = pipe
        return number
    }

    func whenChanged(_ id: MigrationID, _ action: @escaping () -> Void) { watches[machine.watch(id)] = action }

    func whenIdle(_ id: MigrationID, _ action: @escaping () -> Void) {
        guard !machine.isIdle(id) else { return later(10, action) }
        whenChanged(id) { [self] in whenIdle(id, action) }
    }

    /// Tells, once it is certain, whether a disk is served here.
    func whenServed(_ id: MigrationID, over pipe: SimPipe, _ done: @escaping (Bool) -> Void) {
        switch machine.wantsDisk(id) {
        case .served: done(true)
        case .never: done(false)
        case .wait(let wait):
            diskWaits[wait] = done
            let closed = pipe.onClosed[SimPipe.End.destination.rawValue]
            pipe.onClosed[SimPipe.End.destination.rawValue] = { [self] in
                closed()
                perform(machine.endWait(for: id, wait))
            }
        }
    }

    // MARK: Connections

    func accept(_ purpose: Hello.Purpose, _ id: MigrationID, isCommitted: Bool, _ pipe: SimPipe) {
        guard isUp else { return pipe.drop(.destination) }
        switch purpose {
        case .unknown, .estimate, .probe, .neighbours: refuse(pipe)
        case .migrate: receive(pipe)
        case .memory: simulation.acceptMemory(pipe)
        case .forward: takeForwarder(id, isCommitted, pipe)
        case .demand: takeChannel(.demand, id, isCommitted, pipe)
        case .bulk: takeChannel(.bulk, id, isCommitted, pipe)
        }
    }

    func refuse(_ pipe: SimPipe) { pipe.send(.refused(reason: "taken"), from: .destination) }

    private func takeForwarder(_ id: MigrationID, _ isCommitted: Bool, _ pipe: SimPipe) {
        let greet = { [self] in
            guard pipe.isOpen, machine.knows(id) else { return refuse(pipe) }
            SimForwardServer(self, id, pipe).greet(isCommitted: isCommitted)
        }
        guard isCommitted else { return greet() }
        takeOver(id) { [self] isMine in if isMine { greet() } else { refuse(pipe) } }
    }

    private func takeChannel(_ kind: PostCopyChannel, _ id: MigrationID, _ isCommitted: Bool, _ pipe: SimPipe) {
        pipe.onClosed[SimPipe.End.destination.rawValue] = { [self] in
            guard channels[kind] === pipe else { return }
            channels[kind] = nil
            resolving?.channelDown(kind)
        }
        if isCommitted {
            takeOver(id) { [self] isMine in if isMine { attach(kind, id, pipe) } else { refuse(pipe) } }
        } else if machine.knows(id) {
            attach(kind, id, pipe)
        } else {
            refuse(pipe)
        }
    }

    private func attach(_ kind: PostCopyChannel, _ id: MigrationID, _ pipe: SimPipe) {
        guard pipe.isOpen else { return }
        if let old = channels[kind], old !== pipe {
            old.cut()
            channels[kind] = nil
            resolving?.channelDown(kind)
        }
        channels[kind] = pipe
        channelsMigration = id
        pipe.send(.welcome(Welcome(blockSize: 0)), from: .destination)
        pipe.onMessage[SimPipe.End.destination.rawValue] = { [self] message in
            guard channels[kind] === pipe else { return }
            if case .answer(let answer) = message { return takeEarly(answer) }
            resolving?.take(message, from: kind)
        }
        if let resolving {
            resolving.channelUp(kind, pipe)
        } else if kind == .demand {
            for id in earlyReads.keys.sorted() { askEarly(id) }
        } else if machine.served(id) != nil {
            pipe.send(.postcopy(.complete(Ledger())), from: .destination)
        }
    }

    // MARK: What is durable

    func setManifest(_ fingerprint: Fingerprint, of block: UInt64) { manifest[Int(block)] = fingerprint }
    func wholeManifest() -> [Fingerprint] { manifest }
    func clearManifest() { manifest = Array(repeating: .zero, count: manifest.count) }

    /// Makes the image durable, and tells whether it is.
    func synchronize(_ done: @escaping (Bool) -> Void) {
        let snapshot = image.snapshot()
        later(2500) { [self] in done(image.settle(snapshot)) }
    }

    /// The image could not be made durable: a later life goes by what was durable before.
    func distrustMemory() { if !faults.contains(.believedMap) { liveMap = nil } }

    /// - Returns: false if it may not be durable.
    func synchronizeManifest() -> Bool {
        let outcome = store.operate()
        if outcome != .unchanged { durableManifest = manifest }
        return outcome == .confirmed
    }

    /// - Returns: false if they may not be durable.
    func writePages(_ pages: [MapPage]) -> Bool {
        guard !pages.isEmpty else { return true }
        let outcome = store.operate()
        if outcome == .unchanged { return false }
        for page in pages where outcome == .confirmed || world.chance(50) {
            durablePages[page.index] = page
        }
        return outcome == .confirmed
    }

    func removePages() { durablePages = [:] }

    /// Makes the record durable.
    /// - Returns: false if it may not be, and is as it was.
    func write(_ record: Record?) -> Bool { recordStore.write(record, store, world) == .confirmed }

    // MARK: Faults

    /// The state store fails for a while.
    func failStore(for time: UInt64) { store.fail(for: time) }

    func mendDisk() {
        store.mend()
        image.mend()
    }

    /// Whether clients may have heard that something could not be made durable.
    var hasStoreFailed: Bool { store.hasFailed }

    func crash(ofMachine: Bool) {
        guard isUp else { return }
        world.note("destination \(ofMachine ? "machine" : "process") crashes")
        isUp = false
        epoch += 1
        simulation.dropConnections(of: .destination)
        machine = ArrivalMachine()
        letGo()
        records = [:]
        channelsMigration = nil
        wantsSwitch = false
        let hasFailed = image.hasFailed
        if ofMachine {
            if !faults.contains(.silentBoot) { boot += 1 }
            image.crash()
            manifest = durableManifest
            liveMap = nil
            recordStore.crash(world)
        } else if hasFailed {
            image.reopen()
        }
        if faults.contains(.forgottenLiveMap) { liveMap = nil }
        simulation.nodeCrashed(.destination, ofMachine: ofMachine, withFailedDisk: hasFailed)
    }

    func restart() {
        guard !isUp else { return }
        isUp = true
        world.note("destination starts")
        world.check(
            !hasServed || recordStore.visible?.isActive == true, "a disk that was served is not served any more")
        guard let record = recordStore.visible else { return }
        restoreMap(record)
        records[record.migration] = record
        switch machine.restored(record.arrival(size: disk.geometry.diskSize)) {
        case .discard: world.fail("a record of a disk that a new life knows already")
        case .wait: break
        case .serve: takeOver(record.migration) { _ in }
        }
    }

    private func restoreMap(_ record: Record) {
        guard record.needsSource else { return }
        if let liveMap { return liveMap.touchAll() }
        let map = DurablePresentMap(geometry: disk.geometry)
        for index in durablePages.keys.sorted() { map.load(durablePages[index]!) }
        liveMap = map
    }
}
