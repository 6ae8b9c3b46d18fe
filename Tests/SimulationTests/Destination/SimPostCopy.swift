import Block
import Glibc
import Index

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Performs what `PostCopyMachine` orders, as `PostCopy` does, in simulated time.
final class SimPostCopy: SimPart {
    private enum Event {
        case up(SimPipe)
        case down
        case message(Message)
    }

    private static let beginning = ContinuousClock.now

    let node: SimDestination
    private let id: MigrationID
    let map: DurablePresentMap
    private var machine: PostCopyMachine
    private var operations: [UInt64: GuestOperation] = [:]
    private var nextID: UInt64 = 0
    var announced: [UInt64: Fingerprint] = [:]
    private var pipes: [PostCopyChannel: SimPipe] = [:]
    /// Events of a channel wait for the work of its current message.
    private var events: [PostCopyChannel: [Event]] = [:]
    private var busy: Set<PostCopyChannel> = []

    init(_ node: SimDestination, _ id: MigrationID, _ map: DurablePresentMap) {
        self.node = node
        self.id = id
        self.map = map
        var limits = PostCopyMachine.Limits(map.geometry)
        limits.fill.segment = 4
        limits.fill.describing = 3
        limits.fill.bringing = 2
        limits.checkpointBytes = UInt64.random(in: 1...20, using: &node.world.random) * UInt64(map.geometry.blockSize)
        limits.partBlocks = SimSupply.partBlocks
        limits.retryDelay = .milliseconds(20)
        limits.tellingInterval = .milliseconds(2)
        machine = PostCopyMachine(map: map, limits: limits)
        world.add(self)
        world.watch(map)
    }

    func letGo() {
        operations = [:]
        pipes = [:]
        events = [:]
    }

    var disk: SimDisk { node.disk }
    var world: World { node.world }
    private var now: ContinuousClock.Instant { Self.beginning + .microseconds(Int64(world.now)) }

    func start() { step { $0.start() } }

    // MARK: Clients

    func isHere(_ operation: GuestOperation) -> Bool {
        operation.kind != .flush && !operation.isForced
            && map.holds(offset: operation.bytes.lowerBound, length: UInt64(operation.bytes.count))
    }

    func submit(_ operation: GuestOperation) {
        let id = nextID
        nextID += 1
        operations[id] = operation
        step {
            $0.begin(
                PostCopyScheduler.Operation(
                    id: id, kind: operation.kind, bytes: operation.bytes, isForced: operation.isForced))
        }
    }

    private func perform(_ request: PostCopyScheduler.Operation) {
        let operation = operations[request.id]!
        // A trim may have been narrowed.
        let first = Int(request.bytes.lowerBound / SimImage.sectorBytes)
        let sectors = first..<Int(request.bytes.upperBound / SimImage.sectorBytes)
        let skipped = first - operation.sectors.lowerBound
        let part = GuestOperation(
            kind: operation.kind, sectors: sectors,
            values: operation.isChange ? Array(operation.values[skipped..<skipped + sectors.count]) : [],
            isForced: operation.isForced)
        node.perform(part) { [self] error, found in
            operation.found = found
            for (sector, value) in operation.delivered { operation.found[sector - first] = value }
            step { $0.performed(request.id, error: error) }
        }
    }

    /// - Parameter values: of the only block that is delivered.
    func deliver(_ runs: [Range<UInt64>], to reader: UInt64, _ values: [UInt32]) {
        world.check(runs.reduce(0) { $0 + $1.count } == 1, "what has not come is delivered")
        let sectors = disk.sectors(of: runs[0])
        let isStale = node.faults.contains(.staleDelivery)
        for (sector, value) in zip(sectors, isStale ? node.image.read(sectors) : values)
        where operations[reader]!.sectors.contains(sector) {
            operations[reader]!.delivered[sector] = value
        }
    }

    // MARK: The machine

    /// - Parameter values: of the block that the event is about.
    func step(delivering values: [UInt32]? = nil, _ event: (inout PostCopyMachine) -> [PostCopyMachine.Action]) {
        perform(event(&machine), delivering: values)
        world.check(machine.demandedCount <= 64 * 20, "invariant 10: \(machine.demandedCount) blocks are demanded")
        world.check(machine.openSegmentCount <= 20, "invariant 10: \(machine.openSegmentCount) segments are open")
    }

    func ask<Answer>(_ question: (inout PostCopyMachine) -> Answer) -> Answer { question(&machine) }

    private func perform(_ actions: [PostCopyMachine.Action], delivering values: [UInt32]? = nil) {
        for action in actions {
            switch action {
            case .perform(let operation): perform(operation)
            case .deliver(let id, let runs): deliver(runs, to: id, values!)
            case .finish(let id, let error):
                let operation = operations.removeValue(forKey: id)!
                operation.finish(error, operation.found)
            case .send(let message, let kind):
                world.note("\(message)")
                pipes[kind]?.send(.postcopy(message), from: .destination)
            case .sendReplaced:
                for chunk in RunChunks(map.notTaken) {
                    pipes[.bulk]?.send(.postcopy(.replaced(chunk)), from: .destination)
                }
            case .closeChannels: for pipe in pipes.values { pipe.cut() }
            case .search(let search): node.later(500) { [self] in find(search) }
            case .save(let step): save(step)
            case .computeRoot: computeRoot()
            case .report(let problem):
                world.note("\(problem)")
                if case .rootsDiffer = problem { world.fail("invariant 8: the roots differ at the end of post-copy") }
            case .retry: node.later(20_000) { [self] in step { $0.retry() } }
            case .store, .record, .recordCompletion: preconditionFailure("the work of a message")
            }
        }
    }

    // MARK: Durability

    private func save(_ save: SaveSequence.Step) {
        switch save {
        case .synchronizeImage:
            if node.faults.contains(.mapBeforeData) {
                map.touchAll()
                _ = node.writePages(map.takeChanges())
            }
            node.synchronize { [self] in saved($0) }
        case .distrustMemory:
            node.distrustMemory()
            saved(true)
        case .synchronizeManifest: saved(node.synchronizeManifest())
        case .writePages(let pages):
            let late = node.faults.contains(.lateSnapshot) ? pages + map.takeChanges() : pages
            node.later(1000) { [self] in saved(node.writePages(late)) }
        }
    }

    private func saved(_ isDone: Bool) {
        step { $0.saved(isDone ? nil : WorkFailure(code: EIO, reason: "it is broken")) }
    }

    private func computeRoot() {
        node.later(300) { [self] in
            let root = disk.root(node.wholeManifest(), without: Array(map.notTaken))
            let isDurable = node.synchronizeManifest()
            step {
                isDurable ? $0.rootComputed(root) : $0.rootFailed(WorkFailure(code: EIO, reason: "it is broken"))
            }
        }
    }

    // MARK: Channels

    func channelUp(_ kind: PostCopyChannel, _ pipe: SimPipe) { happens(.up(pipe), on: kind) }

    func channelDown(_ kind: PostCopyChannel) {
        events[kind]?.removeAll { if case .message = $0 { true } else { false } }
        happens(.down, on: kind)
    }

    func take(_ message: Message, from kind: PostCopyChannel) { happens(.message(message), on: kind) }

    private func happens(_ event: Event, on kind: PostCopyChannel) {
        events[kind, default: []].append(event)
        next(on: kind)
    }

    private func next(on kind: PostCopyChannel) {
        while !busy.contains(kind), events[kind]?.isEmpty == false {
            switch events[kind]!.removeFirst() {
            case .up(let pipe):
                world.note("\(kind) is up")
                pipes[kind] = pipe
                let capabilities = world.chance(80) ? ProtocolSupport.own.capabilities : .postcopy
                step { $0.channelUp(kind, capabilities, at: now) }
            case .down:
                world.note("\(kind) is down")
                pipes[kind] = nil
                machine.channelDown(kind)
            case .message(let message):
                busy.insert(kind)
                receive(message, on: kind) { [self] in
                    busy.remove(kind)
                    next(on: kind)
                }
            }
        }
    }

    private func receive(_ message: Message, on kind: PostCopyChannel, _ done: @escaping () -> Void) {
        do {
            let actions = try machine.receive(message, on: kind)
            guard let action = actions.first, actions.count == 1, isWork(action) else {
                perform(actions)
                return done()
            }
            work(action, on: kind, done)
        } catch {
            world.fail("the destination does not take \(message): \(error)")
        }
    }

    private func isWork(_ action: PostCopyMachine.Action) -> Bool {
        switch action {
        case .store, .record, .recordCompletion: true
        default: false
        }
    }

    private func work(_ action: PostCopyMachine.Action, on kind: PostCopyChannel, _ done: @escaping () -> Void) {
        switch action {
        case .store(let received):
            store(received) { [self] in
                step { $0.stored(received) }
                done()
            }
        case .record(let description):
            for (block, fingerprint) in zip(description.runs.joined(), description.fingerprints) {
                announced[block] = fingerprint
            }
            step { $0.described(description) }
            done()
        case .recordCompletion:
            node.completed(id) { [self] isRecorded in
                if isRecorded {
                    step { $0.completionRecorded() }
                } else {
                    machine.completionFailed()
                    pipes[kind]?.cut()
                }
                done()
            }
        default: preconditionFailure("not the work of a message")
        }
    }

    /// Now, as the machine is to hear of it.
    func filled(_ fill: PostCopyMachine.Fill, error: CInt, isAtHand: Bool, _ values: [UInt32]?) {
        step(delivering: values) { $0.filled(fill, error: error, isAtHand: isAtHand, at: now) }
    }
}
