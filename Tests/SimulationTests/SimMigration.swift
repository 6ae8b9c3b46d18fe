import Block
import Index
import NIOCore

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Performs what `SourceMachine` says, as `SourceMigration` does, in simulated time.
final class SimMigration: SimPart {
    private static let segmentBlocks: UInt64 = 6

    private let source: SimSource
    private let switchover: Switchover
    let id = MigrationID()
    private var machine: SourceMachine
    private(set) var pipe: SimPipe?
    private let dirtyMap: DirtyMap
    private let sentMap: SentMap
    private var manifest: [Fingerprint]
    private var openSegments: OpenSegments
    private var hasBase = false
    private var expect: ((Message) -> Void)?
    private var isCancelled = false
    /// From here on a cut link changes nothing, and a little later no operator does.
    private var isCommitting = false
    private var isGivingWord = false
    private var forward: SimForward?
    private var supply: SimSupply?
    private var roundsLimit: Double
    /// What has been named as dirty ahead of the fence.
    private var named: [Range<UInt64>] = []

    init(_ source: SimSource, _ switchover: Switchover) {
        self.source = source
        self.switchover = switchover
        machine = SourceMachine(switchover: switchover)
        dirtyMap = DirtyMap(geometry: source.disk.geometry)
        sentMap = SentMap(geometry: source.disk.geometry)
        openSegments = OpenSegments(geometry: source.disk.geometry)
        manifest = Array(repeating: .zero, count: Int(source.disk.geometry.blockCount))
        roundsLimit = Double(Int.random(in: 0...6, using: &source.world.random))
        world.add(self)
        for object in [dirtyMap, sentMap] as [AnyObject] { world.watch(object) }
    }

    func letGo() {
        expect = nil
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

    private var world: World { source.world }
    private var disk: SimDisk { source.disk }
    private var geometry: BlockGeometry { disk.geometry }
    private var isOver: Bool { machine.state == .abandoned || source.migration !== self }

    // MARK: Operators

    func cancel() {
        if isGivingWord { return source.withdrawCommit() }
        switch machine.state {
        case .committed, .moved, .released: return
        default: break
        }
        isCancelled = true
        world.note("cancel")
        pipe?.send(.cancel(reason: "cancelled"), from: .source)
        if let pipe { world.soon(2000) { pipe.cut() } }
    }

    func switchOver() { _ = machine.requestSwitch() }

    // MARK: Rounds

    func begin() {
        guard let abandoned = source.beginAttempt(id) else {
            _ = machine.abandon()
            return source.migrationEnded()
        }
        let pipe = source.simulation.connect(.migrate, id, isCommitted: false)
        self.pipe = pipe
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] in take($0) }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in fail("the link is cut") }
        expect = { [self] message in
            guard message == .accepted || message == .acceptedOnBase else { return fail("not accepted") }
            hasBase = message == .acceptedOnBase
            accepted()
        }
        let offer = Offer(
            migration: id, abandoned: abandoned, export: "disk", size: geometry.size,
            blockSize: UInt32(geometry.blockSize))
        pipe.send(.offer(offer), from: .source)
    }

    private func take(_ message: Message) {
        guard !isOver else { return }
        switch message {
        case .postcopy(.switchNow): switchOver()
        case .refused, .failed: fail("\(message)")
        default: expect?(message)
        }
    }

    private func accepted() {
        source.track(dirtyMap)
        machine.accepted()
        if switchover != .converged {
            forward = SimForward(source, id, isCommitted: false)
            forward!.start()
            supply = SimSupply(source, id, isCommitted: false)
            supply!.start()
        }
        if switchover.isAnsweredEarly { pipe?.send(.postcopy(.expect(switchover)), from: .source) }
        if machine.skipsCopying { return handOver(leavesRest: true) }
        expect = { [self] in firstRound($0) }
        scan(from: 0)
    }

    private func scan(from block: UInt64) {
        guard !isOver else { return }
        guard block < geometry.blockCount, !machine.skipsCopying else {
            if openSegments.end() { pipe?.send(.manifestEnd, from: .source) }
            return
        }
        let blocks = block..<min(geometry.blockCount, block + Self.segmentBlocks)
        source.later(800) { [self] in
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

    private func firstRound(_ message: Message) {
        switch message {
        case .differences(let differences):
            let comparison: OpenSegments.Comparison
            do { comparison = try openSegments.compare(differences) } catch { return fail("\(error)") }
            for part in comparison.rest { pipe?.send(.manifest(part.manifest), from: .source) }
            if openSegments.endComparison() { pipe?.send(.manifestEnd, from: .source) }
        case .wants(let wants):
            guard let answer = try? openSegments.answer(wants) else { return fail("wants that answer nothing") }
            for block in answer.mistaken { dirtyMap.mark(blocks: block..<block + 1) }
            for block in answer.wanted where !dirtyMap.isDirty(block) && !machine.skipsCopying { send([block]) }
        case .manifestDone:
            if machine.skipsCopying { handOver(leavesRest: true) } else { endRound() }
        default:
            fail("no wants but \(message)")
        }
    }

    private func send(_ blocks: [UInt64]) {
        for block in blocks {
            let fingerprint = disk.fingerprint(block, in: source.image)
            manifest[Int(block)] = fingerprint
            pipe?.send(SimSupply.message(block, disk, source.image), from: .source)
        }
    }

    private func endRound() {
        let round = machine.round
        pipe?.send(.roundEnd(UInt32(round)), from: .source)
        expect = { [self] message in
            guard message == .roundDone(UInt32(round)) else { return fail("no end of the round") }
            decide()
        }
    }

    private func decide() {
        guard !isOver else { return }
        let situation = SourceMachine.Situation(
            expectedPause: Double(dirtyMap.count()), maximumPause: roundsLimit, dirty: dirtyMap.count(),
            settled: dirtyMap.count(without: sentMap))
        switch machine.decide(situation) {
        case .handOver(true): nameAhead(Int.random(in: 0...2, using: &world.random), from: machine.round + 1)
        case .handOver(false): handOver(leavesRest: false)
        case .wait: source.later(3000) { [self] in decide() }
        case .copy(let scope): nextRound(scope)
        }
    }

    private func nextRound(_ scope: CopyPlan.Scope) {
        guard !isOver else { return }
        if machine.skipsCopying { return handOver(leavesRest: true) }
        _ = machine.nextRound()
        if scope == .all { sentMap.clear() }
        dirtyRound(from: 0) { [self] in
            if machine.skipsCopying { handOver(leavesRest: true) } else { endRound() }
        }
    }

    private func dirtyRound(from start: UInt64, isFinal: Bool = false, _ done: @escaping () -> Void) {
        guard !isOver else { return }
        guard start < geometry.blockCount, isFinal || !machine.skipsCopying else { return done() }
        var cursor = start
        let early = source.faults.contains(.readBeforeClear) ? source.image.snapshot() : nil
        let take = { [self] in
            let blocks = dirtyMap.take(from: &cursor, limit: 8, without: isFinal ? nil : sentMap)
            for block in blocks { sentMap.mark(block) }
            source.later(500) { [self] in
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

    // MARK: The hand-over

    private func handOver(leavesRest: Bool) {
        guard !isOver else { return }
        guard !isCancelled else { return fail("cancelled") }
        _ = machine.fence()
        world.note("fence")
        source.fence { [self] in
            guard !isOver else { return }
            if leavesRest { leave() } else { sendRest() }
        }
        // A guest is not kept waiting for ever.
        source.exactly(500_000) { [self] in
            if case .fenced = machine.state, !isCommitting { fail("too slow") }
        }
    }

    private func sendRest() {
        dirtyRound(from: 0, isFinal: true) { [self] in
            let round = UInt32(machine.round)
            pipe?.send(.roundEnd(round), from: .source)
            let root = disk.root(manifest, without: [])
            pipe?.send(.prepare(root), from: .source)
            expect = { [self] message in
                guard message == .roundDone(round) else { return fail("no end of the last round") }
                expect = { [self] message in
                    guard case .prepared(let theirs) = message else { return fail("no root") }
                    compare(root, theirs, missing: [])
                }
            }
        }
    }

    /// Names what is left, while the guest goes on writing.
    private func nameAhead(_ times: Int, from round: Int) {
        guard !isOver else { return }
        guard times > 0, !machine.skipsCopying else { return handOver(leavesRest: true) }
        named = named.union(nameDirty())
        pipe?.send(.roundEnd(UInt32(round)), from: .source)
        expect = { [self] message in
            guard message == .roundDone(UInt32(round)) else { return fail("no end of what was named") }
            source.later(1000) { [self] in nameAhead(times - 1, from: round + 1) }
        }
    }

    private func nameDirty() -> [Range<UInt64>] {
        var dirty: [UInt64] = []
        var cursor: UInt64 = 0
        while cursor < geometry.blockCount { dirty += dirtyMap.take(from: &cursor, limit: 64) }
        if source.faults.contains(.unnamedDirt) { dirty = [] }
        if !dirty.isEmpty {
            pipe?.send(.postcopy(.dirty(dirty.map { BlockRange($0..<$0 + 1) })), from: .source)
        }
        return dirty.map { $0..<$0 + 1 }
    }

    private func leave() {
        let left = named.union(nameDirty())
        pipe?.send(.postcopy(.leave), from: .source)
        var said: [Range<UInt64>] = []
        expect = { [self] message in
            switch message {
            case .postcopy(.missing(let runs)): said += runs.map { $0.range! }
            case .prepared(let theirs):
                // All of it is said, or nothing where it is what was named.
                world.check(said.isEmpty || said.union(left) == said.ascending, "dirty blocks are not missing")
                let missing = left.union(said)
                compare(disk.root(manifest, without: missing), theirs, missing: missing)
            case .wants, .manifestDone, .roundDone: break
            default: fail("no root but \(message)")
            }
        }
    }

    private func compare(_ ours: DiskRoot, _ theirs: DiskRoot, missing: [Range<UInt64>]) {
        do {
            try machine.prepared(
                source: ours, destination: source.faults.contains(.uncheckedRoots) ? ours : theirs)
        } catch {
            // With a peer that keeps the protocol this must not be.
            if source.faults.isEmpty { world.fail("invariant 8: the roots differ") }
            return fail("roots differ")
        }
        guard !isCancelled else { return fail("cancelled") }
        isCommitting = true
        expect = { _ in }
        // What the destination takes later must be what is here now.
        if missing.isEmpty || source.faults.contains(.unflushedSource) {
            giveWord(missing, isDurable: !source.image.hasFailed)
        } else {
            source.synchronize { [self] in giveWord(missing, isDurable: $0) }
        }
    }

    private func giveWord(_ missing: [Range<UInt64>], isDurable: Bool) {
        guard !isCancelled, isDurable || source.faults.contains(.handedOverUnflushed) else {
            isCommitting = false
            return fail(isCancelled ? "cancelled" : "the image can't be made durable")
        }
        isGivingWord = true
        source.commit(id, isNeeded: !missing.isEmpty) { [self] isGiven in
            guard isGiven else {
                (isCommitting, isGivingWord) = (false, false)
                return fail("the word could not be given")
            }
            committed(without: missing)
        }
    }

    private func committed(without missing: [Range<UInt64>]) {
        let isNeeded = !missing.isEmpty
        world.note("committed, \(isNeeded ? "needed" : "whole")")
        machine.committed()
        let forward = self.forward ?? SimForward(source, id, isCommitted: true)
        forward.commit()
        forward.start()
        if isNeeded {
            supply = supply ?? SimSupply(source, id, isCommitted: true)
            supply!.commit(manifest, without: missing)
            supply!.start()
        } else {
            supply?.drop()
            supply = nil
        }
        pipe?.send(.commit, from: .source)
        source.gaveAway(forward, supply)
        source.track(nil)
        source.unfence()
        expect = { [self] message in
            if message == .active { machine.moved() }
        }
        source.migrationEnded()
    }

    private func fail(_ reason: String) {
        guard !isOver, !isCommitting else { return }
        world.note("migration fails: \(reason)")
        pipe?.cut()
        switch machine.abandon() {
        case .nothing?: break
        case .stopTracking?: source.track(nil)
        case .stopTrackingAndUnfence?:
            source.track(nil)
            source.unfence()
        case nil: return
        }
        forward?.drop()
        supply?.drop()
        source.migrationEnded()
    }
}
