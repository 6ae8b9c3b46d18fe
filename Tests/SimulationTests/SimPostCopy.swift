import Block
import Glibc
import Index

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Performs what `BlockResolver` and `BackgroundFill` say, as `PostCopy` does, in simulated time.
final class SimPostCopy: SimPart {
    private enum Phase: Equatable {
        case filling
        case verifying(DiskRoot?)
        case complete
    }

    private let node: SimDestination
    private let id: MigrationID
    private let map: DurablePresentMap
    private var resolver: BlockResolver
    private var fill: BackgroundFill
    private var operations: [UInt64: GuestOperation] = [:]
    private var nextID: UInt64 = 0
    private var announced: [UInt64: Fingerprint] = [:]
    private var awaited: [(segment: Range<UInt64>, left: Int)] = []
    private var generation = 0
    private var pipes: [LaneKind: SimPipe] = [:]
    private var phase = Phase.filling
    private var isPaused = false
    private var isSaving = false
    private var waitingSaves: [() -> Void] = []

    init(_ node: SimDestination, _ id: MigrationID, _ map: DurablePresentMap) {
        self.node = node
        self.id = id
        self.map = map
        resolver = BlockResolver(map: map)
        var limits = BackgroundFill.Limits()
        limits.segment = 4
        limits.describing = 3
        limits.bringing = 2
        fill = BackgroundFill(map: map, limits: limits)
        world.add(self)
        world.watch(map)
    }

    func letGo() {
        operations = [:]
        pipes = [:]
        waitingSaves = []
    }

    private var disk: SimDisk { node.disk }
    private var world: World { node.world }

    func isHere(_ operation: GuestOperation) -> Bool {
        operation.kind != .flush && !operation.isForced
            && map.holds(offset: operation.bytes.lowerBound, length: UInt64(operation.bytes.count))
    }

    func submit(_ operation: GuestOperation) {
        let id = nextID
        nextID += 1
        operations[id] = operation
        run(
            resolver.begin(
                BlockResolver.Operation(
                    id: id, kind: operation.kind, bytes: operation.bytes, isForced: operation.isForced)))
    }

    private func run(_ actions: [BlockResolver.Action]) {
        for action in actions {
            switch action {
            case .perform(let operation): perform(operation)
            case .deliver: preconditionFailure("only what has just come is delivered")
            case .finish(let id, let error):
                let operation = operations.removeValue(forKey: id)!
                operation.finish(error, operation.found)
            case .demand(let runs, let ahead): for part in [runs, ahead] where !part.isEmpty { demand(part) }
            case .makeDurable: makeDurable()
            }
        }
        world.check(resolver.demandedCount <= 64 * 20, "invariant 10: \(resolver.demandedCount) blocks are demanded")
        world.check(fill.openCount <= 20, "invariant 10: \(fill.openCount) segments are open")
    }

    private func perform(_ request: BlockResolver.Operation) {
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
            run(resolver.performed(request.id, error: error))
            advance()
        }
    }

    private func makeDurable() {
        save { [self] isSaved in
            node.later(300) { [self] in run(resolver.madeDurable(error: isSaved ? 0 : EIO)) }
        }
    }

    /// One at a time: an older page must not be written over a newer one.
    /// - Parameter done: told whether the image and what is known of it are durable.
    private func save(_ done: @escaping (Bool) -> Void) {
        guard !isSaving else { return waitingSaves.append { [self] in save(done) } }
        isSaving = true
        let faults = node.faults
        let pages = map.takeChanges()
        if faults.contains(.mapBeforeData) { _ = node.writePages(pages) }
        node.synchronize { [self] isDurable in
            guard isDurable, node.synchronizeManifest() else {
                if !isDurable { node.distrustMemory() }
                return saved(isDone: false, pages, done)
            }
            let late = faults.contains(.lateSnapshot) ? pages + map.takeChanges() : pages
            node.later(1000) { [self] in saved(isDone: node.writePages(late), pages, done) }
        }
    }

    private func saved(isDone: Bool, _ pages: [MapPage], _ done: (Bool) -> Void) {
        if !isDone { map.putBack(pages) }
        isSaving = false
        if !waitingSaves.isEmpty { waitingSaves.removeFirst()() }
        done(isDone)
    }

    // MARK: Bringing

    private func demand(_ runs: [Range<UInt64>]) {
        for run in runs { fill.wish(for: run.lowerBound / 3 * 3..<run.upperBound) }
        guard runs.joined().contains(where: { announced[$0] != nil }) else { return ask(runs, .demand) }
        node.later(300) { [self] in
            let rest = runs.joined().filter { announced[$0] == nil || !bringFromHere($0) }
            if !rest.isEmpty { ask(rest.map { $0..<$0 + 1 }, .demand) }
            advance()
        }
    }

    private func ask(_ runs: [Range<UInt64>], _ kind: LaneKind) {
        pipes[kind]?.send(.postcopy(.need(runs.map { BlockRange($0) })), from: .destination)
    }

    func advance() {
        guard phase == .filling else { return }
        if fill.isDone {
            phase = .verifying(nil)
            return verify()
        }
        guard !isPaused else { return }
        for action in fill.next() { run(action) }
    }

    private func run(_ action: BackgroundFill.Action) {
        switch action {
        case .describe(let runs):
            world.note("describe \(runs)")
            pipes[.bulk]?.send(.postcopy(.describe(runs.map { BlockRange($0) })), from: .destination)
        case .bring(let segment):
            world.note("bring \(segment)")
            let generation = self.generation
            node.later(500) { [self] in
                guard self.generation == generation else { return }
                var rest: [Range<UInt64>] = []
                for block in segment where !map.isPresent(block) && !bringFromHere(block) {
                    rest.append(block..<block + 1)
                }
                if rest.isEmpty {
                    fill.brought(segment)
                } else {
                    awaited.append((segment, rest.count))
                    ask(rest, .bulk)
                }
                advance()
            }
        }
    }

    private func bringFromHere(_ block: UInt64) -> Bool {
        let fingerprint = announced[block]!
        let isHere = disk.fingerprint(block, in: node.image) == fingerprint
        guard isHere || fingerprint == .zero || node.neighbour.contains(fingerprint) else { return false }
        store(block, disk.values(fingerprint, of: block))
        return true
    }

    /// Writes a block that has come, as far as it is still wanted.
    private func store(_ block: UInt64, _ values: [UInt32]) {
        let fill = resolver.arrived([block..<block + 1])
        let first = disk.sectors(of: block..<block + 1).lowerBound
        let isUnclaimed = node.faults.contains(.unclaimedFills)
        guard isUnclaimed || !fill.accepted.isEmpty else { return run(resolver.filled(fill.id, error: 0)) }
        guard !node.isFull else { return passBy(fill.id, block, values) }
        let half = values.count / 2
        node.later(400) { [self] in
            node.image.write(values, at: first, from: 0, to: half)
            node.later(400) { [self] in
                node.image.write(values, at: first, from: half, to: values.count)
                if !fill.accepted.isEmpty { node.setManifest(disk.fingerprint(values), of: block) }
                var actions = resolver.filled(fill.id, error: 0)
                if world.chance(10) { actions += resolver.checkpoint() }
                run(actions)
                advance()
            }
        }
    }

    /// There is no room: who reads the block gets it all the same, and the fill waits.
    private func passBy(_ id: UInt64, _ block: UInt64, _ values: [UInt32]) {
        node.later(300) { [self] in
            let actions = resolver.filled(id, error: ENOSPC, isAtHand: true)
            let isStale = node.faults.contains(.staleDelivery)
            for case .deliver(let reader, let runs) in actions {
                world.check(runs == [block..<block + 1], "what has not come is delivered")
                let sectors = disk.sectors(of: block..<block + 1)
                for (sector, value) in zip(sectors, isStale ? node.image.read(sectors) : values)
                where operations[reader]!.sectors.contains(sector) {
                    operations[reader]!.delivered[sector] = value
                }
            }
            isPaused = true
            node.later(20_000) { [self] in
                isPaused = false
                advance()
            }
            run(actions.filter { if case .deliver = $0 { false } else { true } })
        }
    }

    // MARK: Lanes

    func laneUp(_ kind: LaneKind, _ pipe: SimPipe) {
        pipes[kind] = pipe
        world.note("\(kind) is up, \(phase)")
        switch kind {
        case .demand: run(resolver.linkFound())
        case .bulk:
            switch phase {
            case .filling:
                let first = UInt64.random(in: 0..<disk.geometry.blockCount, using: &world.random)
                fill.rank([first..<first + 7, first / 2..<first / 2 + 2])
                for action in fill.linkFound() { run(action) }
                advance()
            case .verifying(let root): if root != nil { askToVerify() }
            case .complete: pipe.send(.postcopy(.complete(Ledger())), from: .destination)
            }
        }
    }

    func laneDown(_ kind: LaneKind) {
        pipes[kind] = nil
        world.note("\(kind) is down")
        switch kind {
        case .demand: resolver.linkLost()
        case .bulk:
            fill.linkLost()
            awaited = []
            generation += 1
        }
    }

    func take(_ message: Message, from kind: LaneKind) {
        switch message {
        case .zeros(let range):
            let block = range.first
            store(block, Array(repeating: 0, count: disk.sectors(of: block..<block + 1).count))
            count(block, kind)
        case .data(let segment):
            var bytes = segment.compressed
            let block = segment.runs[0].first
            store(block, disk.sectors(of: block..<block + 1).map { _ in bytes.readInteger(as: UInt32.self)! })
            count(block, kind)
        case .postcopy(.description(let description)):
            guard let runs = fill.oldestQuestion, runs.first?.lowerBound == description.first else {
                return world.fail("fingerprints that nobody asked for")
            }
            fill.wasDescribed()
            for (block, fingerprint) in zip(runs.joined(), description.fingerprints) { announced[block] = fingerprint }
        case .postcopy(.verified(let theirs)):
            guard case .verifying(let ours?) = phase else { return }
            world.check(ours == theirs, "invariant 8: the roots differ at the end of post-copy")
            guard ours == theirs else { return }
            phase = .complete
            node.completed(id) { [self] isNoted in
                if isNoted {
                    pipes[.bulk]?.send(.postcopy(.complete(Ledger())), from: .destination)
                } else {
                    phase = .verifying(ours)
                    node.later(20_000) { [self] in askToVerify() }
                }
            }
        case .postcopy(.released), .welcome, .refused:
            break
        default:
            world.fail("the destination is told \(message)")
        }
        advance()
    }

    private func count(_ block: UInt64, _ kind: LaneKind) {
        guard kind == .bulk, let index = awaited.firstIndex(where: { $0.segment.contains(block) }) else { return }
        awaited[index].left -= 1
        if awaited[index].left == 0 { fill.brought(awaited.remove(at: index).segment) }
    }

    // MARK: The end

    private func verify() {
        save { [self] isSaved in
            let root = disk.root(node.wholeManifest(), without: map.notTakenRuns())
            guard isSaved, node.synchronizeManifest() else {
                phase = .filling
                isPaused = true
                return node.later(20_000) { [self] in
                    isPaused = false
                    advance()
                }
            }
            phase = .verifying(root)
            askToVerify()
        }
    }

    private func askToVerify() {
        let runs = map.notTakenRuns()
        if !runs.isEmpty { pipes[.bulk]?.send(.postcopy(.replaced(runs.map { BlockRange($0) })), from: .destination) }
        pipes[.bulk]?.send(.postcopy(.verify), from: .destination)
    }
}
