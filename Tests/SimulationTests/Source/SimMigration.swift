import Block
import Index
import NIOCore

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Performs the steps of `SourceMachine` for one disk, as `SourceDriver` does, in simulated time.
final class SimMigration: SimPart {
    /// Failures that only the driver meets.
    enum Failure: Error {
        case cut
        case attemptNotNoted
        case notDurable
    }

    private static let segmentBlocks: UInt64 = 6

    let source: SimSource
    let group: SimGroup
    let member: Int
    let id = MigrationID()
    private(set) var machine: SourceMachine
    private(set) var wasAccepted = false
    private(set) var pipe: SimPipe?
    let dirtyMap: DirtyMap
    let sentMap: SentMap
    var manifest: [Fingerprint]
    private var openSegments: OpenSegments
    /// The blocks that the guest's file systems call free; they may say anything.
    let free: BlockSet
    private var hasBase = false
    var forward: SimForward?
    var supply: SimSupply?
    private let longestPause: Double
    /// The blocks that were named as dirty ahead of the fence.
    var named: [Range<UInt64>] = []
    /// The blocks that the destination has said to lack.
    var said: [Range<UInt64>] = []
    var missing: [Range<UInt64>] = []
    /// Whether the destination has confirmed a round, and the blocks that have been sent since or never will be.
    private(set) var isConfirmed = false
    private var unconfirmed: Set<UInt64> = []

    init(_ source: SimSource, _ group: SimGroup, member: Int) {
        self.source = source
        self.group = group
        self.member = member
        machine = SourceMachine(
            size: source.disk.geometry.diskSize, switchover: group.switchover,
            maximumRounds: source.world.chance(20) ? 2 : .max, disks: group.count)
        machine.places = source.disk.geometry.origins
        dirtyMap = DirtyMap(geometry: source.disk.geometry)
        sentMap = SentMap(geometry: source.disk.geometry)
        free = source.world.chance(50) ? Self.someBlocks(of: source) : BlockSet(of: source.disk.geometry.blockCount)
        openSegments = OpenSegments(geometry: source.disk.geometry, free: free)
        manifest = Array(repeating: .zero, count: Int(source.disk.geometry.blockCount))
        longestPause = Double(Int.random(in: 0...6, using: &source.world.random))
        world.add(self)
        for object in [dirtyMap, sentMap] as [AnyObject] { world.watch(object) }
    }

    func letGo() {
        pipe = nil
        forward = nil
        supply = nil
    }

    /// The source's process has gone: nothing of the migration goes on in its next life.
    func processEnded() {
        pipe?.drop(.source)
        forward?.drop()
        supply?.drop()
    }

    var world: World { source.world }
    var disk: SimDisk { source.disk }
    var geometry: BlockGeometry { disk.geometry }
    /// Whether nothing is to be done for a migration any more that has not given its disk away.
    var isOver: Bool { machine.state == .abandoned || source.migration !== self }

    // MARK: Steps

    func begin() {
        source.began(self)
        guard group.connect(member) else { return fail(group.machine.failure!) }
        let pipe = source.simulation.connect(.migrate, id, isCommitted: false)
        self.pipe = pipe
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] in take($0) }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in fail(Failure.cut, .passing) }
        perform(machine.step)
    }

    /// Tells the machine of an event, and performs what follows.
    func advance(_ event: (inout SourceMachine) throws -> SourceMachine.Step) {
        if group.machine.isSwitchRequested { machine.requestSwitch() }
        do { perform(try event(&machine)) } catch { fail(error) }
    }

    /// Whether to switch over now, whatever is left.
    var isWanted: Bool {
        if group.machine.isSwitchRequested { machine.requestSwitch() }
        return machine.skipsCopying
    }

    /// The operator, a client of the destination or another disk has changed something.
    func wake() {
        guard !isOver else { return }
        if machine.step == .wait { advance { $0.waited() } }
    }

    private func perform(_ step: SourceMachine.Step) {
        switch step {
        // The simulated destination says no welcome to this connection.
        case .greet: take(.welcome(Welcome(blockSize: UInt32(geometry.blockSize))))
        case .offer(let geometry, _): offer(geometry)
        case .open(let opened): open(opened)
        case .meetBeforeCopying: meet(.accepted)
        case .start(let isReadyAtOnce, let expects): start(isReadyAtOnce, expects)
        case .copyManifest: scan(from: 0)
        case .endRound(let round): pipe?.send(.roundEnd(UInt32(round)), from: .source)
        case .connect:
            startForwarding(isCommitted: false)
            after(4000, .connect) { [self] in advance { $0.connected() } }
        case .measure:
            let situation = situation
            advance { $0.measured(situation) }
        case .agree(let isReady):
            let (isClosed, isAssembled) = group.note(member, isReady: isReady)
            advance { $0.agreed(isClosed: isClosed, isAssembled: isAssembled) }
        case .awaitOthers:
            after(1000, .awaitOthers) { [self] in
                let situation = situation
                advance { $0.measuredAgain(situation) }
            }
        case .wait: after(3000, .wait) { [self] in advance { $0.waited() } }
        case .copy(_, let scope):
            _ = group.note(member, isReady: false)
            if scope == .all { sentMap.clear() }
            dirtyRound(from: 0) { [self] in advance { $0.copied() } }
        case .flushCopying: dirtyRound(from: 0) { [self] in advance { $0.flushed() } }
        case .nameAhead(let round):
            named = named.union(nameDirty())
            pipe?.send(.roundEnd(UInt32(round)), from: .source)
        case .flush: after(500, .flush) { [self] in advance { $0.flushed() } }
        case .meetBeforeFence: meet(.fence)
        case .fence: fence()
        case .sendRest(let round): sendRest(round)
        case .nameRest: nameRest()
        case .compare(let theirs): compare(theirs)
        case .commit: commit()
        case .forward: forwardClients()
        case .awaitActive: forward?.confirmed = { [self] in becameActive() }
        case .supplyRest: break
        case .finish: separate()
        }
    }

    /// Does something later, unless the step is over by then.
    private func after(_ most: UInt64, _ step: SourceMachine.Step, _ action: @escaping () -> Void) {
        source.later(most) { [self] in if !isOver, machine.step == step { action() } }
    }

    private func take(_ message: Message) {
        guard source.migration === self || machine.state == .committed else { return }
        do {
            let reception = try machine.receive(message)
            if case .roundDone = message { confirm() }
            switch reception {
            case .next(let step): perform(step)
            case .wants, .differences, .manifestDone: answered(message)
            case .named:
                let isAgain = world.chance(40)
                source.later(1000) { [self] in if !isOver { advance { $0.named(repeats: isAgain) } } }
            case .missing(let runs): said += runs
            case .switchOver: group.requestSwitch()
            case .active: becameActive()
            case .lost, .nothing, .prefix: break
            }
        } catch {
            fail(error)
        }
    }

    private func meet(_ meeting: SwitchAgreement.Meeting) {
        group.meet(member, at: meeting) { [self] error in
            guard !isOver else { return }
            if let error { return fail(error) }
            advance { $0.met() }
        }
    }

    // MARK: Before the first block

    private func offer(_ geometry: BlockGeometry) {
        guard let abandoned = source.beginAttempt(id) else { return fail(Failure.attemptNotNoted, .lasting) }
        pipe?.send(
            .offer(
                Offer(
                    migration: id, abandoned: abandoned, export: "disk", size: geometry.diskSize,
                    blockSize: UInt32(geometry.blockSize), details: OfferDetails(origins: geometry.origins))),
            from: .source)
    }

    private func open(_ opened: OpenedMigration) {
        hasBase = opened.hasBase
        wasAccepted = true
        source.track(dirtyMap)
        advance { $0.opened() }
    }

    private func start(_ isReadyAtOnce: Bool, _ expects: Switchover?) {
        if isReadyAtOnce {
            startForwarding(isCommitted: false)
            supply = SimSupply(source, id, isCommitted: false)
            supply!.start()
        }
        if let expects { pipe?.send(.postcopy(.expect(expects)), from: .source) }
        advance { $0.started() }
    }

    func startForwarding(isCommitted: Bool) {
        forward = forward ?? SimForward(source, id, isCommitted: isCommitted)
        if isCommitted { forward!.commit() }
        forward!.start()
    }

    private static func someBlocks(of source: SimSource) -> BlockSet {
        let count = source.disk.geometry.blockCount
        let blocks = (0..<count).filter { _ in source.world.chance(40) }
        return BlockSet(blocks.map { $0..<$0 + 1 }, of: count)
    }

    // MARK: Rounds

    private var situation: SourceMachine.Situation {
        SourceMachine.Situation(
            expectedPause: Double(dirtyMap.count() * source.node.slowness), maximumPause: longestPause,
            dirty: dirtyMap.count(), settled: dirtyMap.count(without: sentMap))
    }

    private func scan(from block: UInt64) {
        guard !isOver else { return }
        guard block < geometry.blockCount, !isWanted else {
            if openSegments.end() { pipe?.send(.manifestEnd, from: .source) }
            return
        }
        let blocks = block..<min(geometry.blockCount, block + Self.segmentBlocks)
        source.later(800 * source.node.slowness) { [self] in
            guard !isOver else { return }
            let entries = blocks.map { block -> ManifestSegment.Entry in
                if dirtyMap.isDirty(block) {
                    manifest[Int(block)] = .zero
                    return .later
                }
                let fingerprint = disk.fingerprint(block, in: source.image)
                manifest[Int(block)] = fingerprint
                return fingerprint == .zero ? .zero : .prefix(fingerprint.high)
            }
            let segment = ManifestSegment(first: block, entries: entries)
            let fingerprints = blocks.map { manifest[Int($0)] }
            let scanned = ScannedSegment(manifest: segment, fingerprints: fingerprints, zeroBytes: 0)
            if hasBase {
                openSegments.addSummary(of: scanned)
                pipe?.send(.summary(ManifestSummary(of: segment, fingerprints)), from: .source)
            } else {
                openSegments.add(scanned)
                pipe?.send(.manifest(segment), from: .source)
            }
            scan(from: blocks.upperBound)
        }
    }

    private func answered(_ message: Message) {
        do {
            switch message {
            case .differences(let differences):
                let comparison = try openSegments.compare(differences)
                for part in comparison.rest { pipe?.send(.manifest(part.manifest), from: .source) }
                if openSegments.endComparison() { pipe?.send(.manifestEnd, from: .source) }
            case .wants(let wants):
                let answer = try openSegments.answer(wants)
                for block in answer.mistaken { dirtyMap.mark(blocks: block..<block + 1) }
                for block in answer.sending where !dirtyMap.isDirty(block) && !isWanted { send([block]) }
            default:
                world.check(openSegments.isAnswered, "an end of wants that are owed")
                for block in openSegments.putOff.order.waiting(inPartsOf: 3).joined() where !isWanted {
                    if !dirtyMap.isDirty(block) { send([block]) }
                }
                advance { $0.copied() }
            }
        } catch {
            fail(error)
        }
    }

    /// The destination has everything that was sent, as the product's record of agreed blocks says.
    private func confirm() {
        isConfirmed = true
        unconfirmed = Set(named.joined())
    }

    /// Whether the destination has what the manifest says of a block, as far as is known here.
    func isAgreed(_ block: UInt64) -> Bool {
        isConfirmed && !unconfirmed.contains(block)
            && (!dirtyMap.isDirty(block) || source.faults.contains(.dirtyReferences))
    }

    /// Records blocks whose bits are cleared.
    func taken(_ blocks: [UInt64]) { unconfirmed.formUnion(blocks) }

    private func send(_ blocks: [UInt64]) {
        for block in blocks {
            let fingerprint = disk.fingerprint(block, in: source.image)
            manifest[Int(block)] = fingerprint
            pipe?.send(SimSupply.message(block, disk, source.image), from: .source)
        }
    }

    func dirtyRound(from start: UInt64, isFinal: Bool = false, _ done: @escaping () -> Void) {
        guard !isOver else { return }
        guard start < geometry.blockCount, isFinal || !isWanted else { return done() }
        var cursor = start
        let early = source.faults.contains(.readBeforeClear) ? source.image.snapshot() : nil
        let take = { [self] in
            let blocks = dirtyMap.take(from: &cursor, limit: 8, without: isFinal ? nil : sentMap)
            for block in blocks { sentMap.mark(block) }
            taken(blocks)
            source.later(500 * source.node.slowness) { [self] in
                guard !isOver else { return }
                if let early {
                    for block in blocks {
                        let values = Array(early.sectors[disk.sectors(of: block..<block + 1)])
                        manifest[Int(block)] = disk.fingerprint(values)
                        pipe?.send(SimSupply.message(block, values), from: .source)
                    }
                } else {
                    send(blocks)
                }
                dirtyRound(from: cursor, isFinal: isFinal, done)
            }
        }
        if early != nil { source.later(400) { take() } } else { take() }
    }

    // MARK: Failure

    /// Tells the destination that the disk will not come, and hangs up.
    func sayFarewell(_ reason: String) {
        pipe?.send(.cancel(reason: reason), from: .source)
        world.soon(2000) { [self] in pipe?.cut() }
    }

    func close() { pipe?.cut() }

    /// - Parameter kind: nil for what the error is.
    func fail(_ error: any Error, _ kind: SwitchGroupMachine.FailureKind? = nil) {
        // Once the commit record may be there, only that counts.
        guard !isOver, machine.step != .commit || group.machine.failure != nil && !group.machine.isInDoubt else {
            return
        }
        let isInDoubt = group.machine.isInDoubt
        guard let undo = machine.abandon(isInDoubt: isInDoubt) else { return }
        world.note("migration of disk \(member) fails: \(error)")
        world.check(!isInDoubt, "a migration in doubt is given up")
        group.disconnect(member)
        group.fail(error, kind)
        if group.count > 1 { source.withdraw() }
        pipe?.cut()
        if undo != .nothing { source.track(nil) }
        if undo == .stopTrackingAndUnfence { source.unfence() }
        forward?.drop()
        supply?.drop()
        source.migrationEnded()
        // Its links take a moment to end, and the operator may ask for something meanwhile.
        source.later(2000) { [self] in group.diskEnded() }
    }
}
