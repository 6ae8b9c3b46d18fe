import Block
import Glibc
import Index
import NIOCore

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

/// The node that the disk comes to: performs what `DestinationMachine` says, as
/// `DestinationMigration` and `DestinationSite` do, in simulated time.
final class SimDestination: SimPart {
    /// What is written down about a disk that has been prepared here, or more.
    struct Record {
        var isActive = false
        let migration: MigrationID
        let root: DiskRoot
        var needsSource: Bool
    }

    let world: World
    let disk: SimDisk
    let image: SimImage
    let faults: Faults
    unowned let simulation: SimMove

    // What survives the process, and the machine.
    private let store: SimStore
    private var recordStore = SimRecord<Record?>(nil)
    private var durablePages: [Int: MapPage] = [:]
    private var boot: UInt64 = 1
    private var durableManifest: [Fingerprint]
    private var hasPartialImage = false

    // What survives the process.
    /// Clients have been served.
    private var hasServed = false
    private var manifest: [Fingerprint]
    private var liveMap: DurablePresentMap?

    // What does not.
    private(set) var record: Record?
    private(set) var isUp = true
    private(set) var epoch = 0
    private var arrival: SimArrival?
    private(set) var resolving: SimPostCopy?
    private(set) var isServing = false
    private var isActivating = false
    private var forwardPipe: SimPipe?
    private var forwardInFlight = 0
    private var whenForwardQuiet: (() -> Void)?
    private var channels: [PostCopyChannel: SimPipe] = [:]
    private var channelsMigration: MigrationID?
    /// Requests of clients from before the hand-over.
    private var early: [GuestOperation] = []
    private var earlyReads: [UInt64: GuestOperation] = [:]
    private var nextEarlyRead: UInt64 = 0
    private(set) var isAnsweringEarly = false
    private var wantsSwitch = false
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
        arrival = nil
        resolving = nil
        forwardPipe = nil
        whenForwardQuiet = nil
        channels = [:]
        early = []
        earlyReads = [:]
    }

    /// Blocks that can be had here.
    let neighbour: Set<Fingerprint>

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

    // MARK: Connections

    func accept(_ purpose: Hello.Purpose, _ id: MigrationID, isCommitted: Bool, _ pipe: SimPipe) {
        guard isUp else { return pipe.drop(.destination) }
        pipe.onClosed[SimPipe.End.destination.rawValue] = { [self] in closed(purpose, pipe) }
        switch purpose {
        case .unknown, .estimate: refuse(pipe)
        case .migrate: receive(id, pipe)
        case .forward: takeForwarder(id, isCommitted, pipe)
        case .demand: takeChannel(.demand, id, isCommitted, pipe)
        case .bulk: takeChannel(.bulk, id, isCommitted, pipe)
        }
    }

    private func receive(_ id: MigrationID, _ pipe: SimPipe) {
        pipe.onMessage[SimPipe.End.destination.rawValue] = { [self] message in
            if let arrival, arrival.pipe === pipe { return arrival.take(message) }
            guard case .offer(let offer) = message else { return }
            open(offer, pipe)
        }
    }

    private func open(_ offer: Offer, _ pipe: SimPipe) {
        if let arrival {
            // The earlier attempt is over once nothing of it is being written any more.
            guard offer.abandoned.contains(arrival.id) else { return refuse(pipe) }
            return arrival.end { [self] in later(10) { [self] in open(offer, pipe) } }
        }
        if let record {
            guard !record.isActive, !isActivating, offer.abandoned.contains(record.migration), write(nil)
            else {
                return refuse(pipe)
            }
            hasPartialImage = true
        }
        // Blocks may be read from the image that its disk does not hold.
        if image.hasFailed, !faults.contains(.damagedBase) {
            clearImage()
        } else if image.hasFailed {
            image.reuse()
        }
        guard pipe.isOpen else { return }
        let arrival = SimArrival(self, offer.migration, pipe, hasBase: hasPartialImage)
        self.arrival = arrival
        hasPartialImage = true
        channelsMigration = offer.migration
        arrival.take(.offer(offer))
    }

    private func refuse(_ pipe: SimPipe) { pipe.send(.refused(reason: "taken"), from: .destination) }

    func arrivalEnded(_ arrival: SimArrival) {
        if self.arrival === arrival { self.arrival = nil }
    }

    private func closed(_ purpose: Hello.Purpose, _ pipe: SimPipe) {
        switch purpose {
        case .unknown, .estimate: break
        case .migrate:
            if let arrival, arrival.pipe === pipe { arrival.end {} }
        case .forward:
            // What it has brought is still being performed; the next one waits for that.
            break
        case .demand, .bulk:
            let kind: PostCopyChannel = purpose == .demand ? .demand : .bulk
            guard channels[kind] === pipe else { return }
            channels[kind] = nil
            resolving?.channelDown(kind)
        }
    }

    // MARK: Preparing

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

    /// - Returns: false where it may not be durable.
    func synchronizeManifest() -> Bool {
        let outcome = store.operate()
        if outcome != .unchanged { durableManifest = manifest }
        return outcome == .confirmed
    }

    /// - Returns: false where they may not be durable.
    func writePages(_ pages: [MapPage]) -> Bool {
        guard !pages.isEmpty else { return true }
        let outcome = store.operate()
        if outcome == .unchanged { return false }
        for page in pages where outcome == .confirmed || world.chance(50) {
            durablePages[page.index] = page
        }
        return outcome == .confirmed
    }

    /// Makes the record durable.
    /// - Returns: false where it may not be, and is as it was.
    private func write(_ record: Record?) -> Bool {
        guard recordStore.write(record, store, world) == .confirmed else { return false }
        self.record = record
        return true
    }

    private func clearImage() {
        hasPartialImage = false
        image.fill(Array(repeating: 0, count: disk.sectorCount))
    }

    /// The image is durable; makes the map and the record so, and tells whether they are.
    func prepare(_ id: MigrationID, _ root: DiskRoot, present: PresentMap?, _ done: @escaping (Bool) -> Void) {
        later(1000) { [self] in
            if let present {
                guard synchronizeManifest() else { return done(false) }
                let map = DurablePresentMap(geometry: disk.geometry)
                for block in 0..<disk.geometry.blockCount where present.isPresent(block) {
                    map.markTaken(block..<block + 1)
                }
                durablePages = [:]
                guard writePages(map.takeChanges()) else { return done(false) }
                liveMap = map
            } else {
                liveMap = nil
                durablePages = [:]
            }
            later(1000) { [self] in
                guard write(Record(migration: id, root: root, needsSource: present != nil)) else {
                    return done(false)
                }
                later(300) { [self] in
                    done(true)
                    if faults.contains(.eagerDestination) { takeOver(id) { _ in } }
                }
            }
        }
    }

    /// The source keeps the disk.
    func abandon(_ id: MigrationID) {
        guard let record, record.migration == id, !record.isActive, !isActivating else { return }
        if write(nil) { clearImage() }
    }

    // MARK: Taking over

    func takeOver(_ id: MigrationID, _ done: @escaping (Bool) -> Void) {
        guard var record, record.migration == id else { return done(false) }
        if isServing { return done(true) }
        if isActivating { return later(200) { [self] in takeOver(id, done) } }
        isActivating = true
        later(1000) { [self] in
            record.isActive = true
            guard write(record) || faults.contains(.servedUnknown) else {
                isActivating = false
                return done(false)
            }
            self.record = record
            later(500) { [self] in
                serve()
                done(true)
            }
        }
    }

    private func serve() {
        guard let record else { return }
        isActivating = false
        isServing = true
        hasServed = true
        world.check(
            simulation.source.moved?.migration == record.migration || faults.contains(.lateWord),
            "invariant 5: the destination serves a disk that was not given to it")
        world.note("destination serves, \(record.needsSource ? "partly" : "whole")")
        if record.needsSource {
            resolving = SimPostCopy(self, liveMap!)
            for kind in PostCopyChannel.allCases where channels[kind] != nil && channelsMigration == record.migration {
                resolving!.channelUp(kind, channels[kind]!)
            }
            resolving!.start()
        }
        isAnsweringEarly = false
        earlyReads = [:]
        let operations = early
        early = []
        for operation in operations { submit(operation) }
    }

    func completed(_ done: @escaping (Bool) -> Void) {
        later(1000) { [self] in
            var record = record!
            record.needsSource = false
            guard write(record) else { return done(false) }
            resolving = nil
            liveMap = nil
            world.note("complete")
            done(true)
        }
    }

    private func takeChannel(_ kind: PostCopyChannel, _ id: MigrationID, _ isCommitted: Bool, _ pipe: SimPipe) {
        if isCommitted {
            takeOver(id) { [self] isMine in if isMine { attach(kind, id, pipe) } else { refuse(pipe) } }
        } else if arrival?.id == id || record?.migration == id {
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
        } else if record?.isActive == true, record?.needsSource == false {
            pipe.send(.postcopy(.complete(Ledger())), from: .destination)
        }
    }

    // MARK: Clients

    func submit(_ operation: GuestOperation) {
        if !isServing { return submitEarly(operation) }
        if operation.isChange {
            world.check(
                simulation.source.moved != nil || faults.contains(.lateWord),
                "invariant 5: the destination writes to a disk that it was not given")
        }
        if let resolving, !resolving.isHere(operation) { return resolving.submit(operation) }
        perform(operation) { operation.finish($0, $1) }
    }

    /// Directly on the image.
    func perform(_ operation: GuestOperation, _ done: @escaping (Int32, [UInt32]) -> Void) {
        let half = operation.values.count / 2
        later(200) { [self] in
            if operation.isChange {
                image.write(operation.values, at: operation.sectors.lowerBound, from: 0, to: half)
            }
            let snapshot = operation.kind == .flush ? image.snapshot() : nil
            later(operation.kind == .flush ? 2000 : world.chance(5) ? 20_000 : 300) { [self] in
                if operation.isChange {
                    image.write(
                        operation.values, at: operation.sectors.lowerBound, from: half, to: operation.values.count)
                }
                let isForced = operation.isChange && operation.isForced && resolving == nil
                let isDurable = (isForced ? image.snapshot() : snapshot).map { image.settle($0) } ?? true
                done(isDurable ? 0 : EIO, operation.kind == .read ? image.read(operation.sectors) : [])
            }
        }
    }

    func expectEarly() { isAnsweringEarly = true }

    private func submitEarly(_ operation: GuestOperation) {
        switch operation.kind {
        case .read, .flush:
            if faults.contains(.localEarlyReads) { return perform(operation) { operation.finish($0, $1) } }
            early.append(operation)
            earlyReads[nextEarlyRead] = operation
            askEarly(nextEarlyRead)
            nextEarlyRead += 1
        case .write, .trim, .writeZeroes:
            early.append(operation)
            askForSwitch()
        default:
            later(100) { operation.finish(0, []) }
        }
    }

    func askForSwitch() {
        wantsSwitch = true
        arrival?.pipe.send(.postcopy(.switchNow), from: .destination)
    }

    func sayIfSwitchIsWanted() { if wantsSwitch { askForSwitch() } }

    private func askEarly(_ id: UInt64) {
        guard let operation = earlyReads[id] else { return }
        channels[.demand]?.send(
            .request(
                ForwardRequest(
                    id: id, kind: operation.kind, isForced: false, mayPunchHole: true,
                    offset: operation.bytes.lowerBound,
                    length: UInt64(operation.bytes.count), payload: ByteBuffer())), from: .destination)
    }

    private func takeEarly(_ answer: ForwardAnswer) {
        guard let operation = earlyReads.removeValue(forKey: answer.id) else { return }
        early.removeAll { $0 === operation }
        var payload = answer.payload
        operation.finish(
            answer.error, (0..<payload.readableBytes / 4).map { _ in payload.readInteger(as: UInt32.self)! })
    }

    // MARK: Requests of the source's clients

    private func takeForwarder(_ id: MigrationID, _ isCommitted: Bool, _ pipe: SimPipe) {
        guard isCommitted else {
            guard arrival?.id == id || record?.migration == id else { return refuse(pipe) }
            return pipe.send(.welcome(Welcome(blockSize: 0, boot: boot)), from: .destination)
        }
        takeOver(id) { [self] isMine in
            guard isMine, pipe.isOpen else { return refuse(pipe) }
            pipe.send(.welcome(Welcome(blockSize: 0, boot: boot)), from: .destination)
            pipe.onMessage[SimPipe.End.destination.rawValue] = { [self] in takeRequest($0, pipe) }
        }
    }

    private func takeRequest(_ message: Message, _ pipe: SimPipe) {
        guard case .request(let request) = message else { return }
        if forwardPipe !== pipe, !faults.contains(.overlappingForwards) {
            forwardPipe?.cut()
            // Invariant 9: nothing of the old link may land after what the new one brings.
            guard forwardInFlight == 0 else {
                let handler = pipe.onMessage[SimPipe.End.destination.rawValue]
                var queue = [message]
                pipe.onMessage[SimPipe.End.destination.rawValue] = { queue.append($0) }
                whenForwardQuiet = { [self] in
                    pipe.onMessage[SimPipe.End.destination.rawValue] = handler
                    for message in queue { takeRequest(message, pipe) }
                }
                return
            }
            forwardPipe = pipe
        }
        let first = Int(request.offset / SimImage.sectorBytes)
        let sectors = first..<first + Int(request.length / SimImage.sectorBytes)
        var payload = request.payload
        let values =
            request.kind == .write
            ? sectors.map { _ in payload.readSlice(length: Int(SimImage.sectorBytes))!.getInteger(at: 0)! as UInt32 }
            : Array(repeating: 0, count: sectors.count)
        let operation = GuestOperation(
            kind: request.kind, sectors: sectors,
            values: request.kind == .read || request.kind == .flush ? [] : values, isForced: request.isForced)
        forwardInFlight += 1
        operation.finish = { [self] error, found in
            forwardInFlight -= 1
            var payload = ByteBuffer()
            for value in found { payload.writeInteger(value) }
            pipe.send(.answer(ForwardAnswer(id: request.id, error: error, payload: payload)), from: .destination)
            if forwardInFlight == 0, let quiet = whenForwardQuiet {
                whenForwardQuiet = nil
                quiet()
            }
        }
        submit(operation)
    }

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
        arrival?.pipe.drop(.destination)
        forwardPipe?.drop(.destination)
        for kind in PostCopyChannel.allCases { channels[kind]?.drop(.destination) }
        simulation.dropConnections(of: .destination)
        arrival = nil
        resolving = nil
        isServing = false
        isActivating = false
        forwardPipe = nil
        forwardInFlight = 0
        whenForwardQuiet = nil
        channels = [:]
        channelsMigration = nil
        early = []
        earlyReads = [:]
        isAnsweringEarly = false
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
        record = recordStore.visible
        if faults.contains(.forgottenLiveMap) { liveMap = nil }
        simulation.nodeCrashed(.destination, ofMachine: ofMachine, withFailedDisk: hasFailed)
    }

    func restart() {
        guard !isUp else { return }
        // What is acted upon must be what a later life finds, too.
        if recordStore.isInDoubt, !faults.contains(.trustedRecord) {
            guard write(recordStore.visible) else { return world.after(10_000) { [self] in restart() } }
        }
        isUp = true
        world.note("destination starts")
        world.check(
            !hasServed || record?.isActive == true, "a disk that was served is not served any more")
        guard let record else { return }
        if record.needsSource {
            if let liveMap {
                liveMap.touchAll()
            } else {
                let map = DurablePresentMap(geometry: disk.geometry)
                for index in durablePages.keys.sorted() { map.load(durablePages[index]!) }
                liveMap = map
            }
        }
        if record.isActive { serve() }
    }
}
