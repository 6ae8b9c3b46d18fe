import Block
import Index

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// One attempt to bring the disk: performs what `DestinationMachine` says, one message after the other.
final class SimArrival: SimPart {
    let id: MigrationID
    let number: ArrivalConnection
    let pipe: SimPipe
    private let node: SimDestination
    private let hasBase: Bool
    private var machine = DestinationMachine()
    private let present: PresentMap
    /// What the source has named as dirty, and whether that need not be said to be missing.
    private var named: [Range<UInt64>] = []
    private let saysAll: Bool
    private var queue: [Message] = []
    private var isBusy = false
    private var isOver = false
    private var isCut = false
    /// Enough has come for another attempt to begin with.
    let isWorthKeeping: Bool

    init(
        _ node: SimDestination, _ id: MigrationID, _ number: ArrivalConnection, _ pipe: SimPipe, hasBase: Bool
    ) {
        self.node = node
        self.id = id
        self.number = number
        self.pipe = pipe
        self.hasBase = hasBase
        present = PresentMap(geometry: node.disk.geometry)
        saysAll = node.world.chance(30)
        isWorthKeeping = hasBase || node.world.chance(70)
        node.clearManifest()
        node.world.add(self)
        node.world.watch(present)
    }

    func letGo() { queue = [] }

    private var disk: SimDisk { node.disk }

    func take(_ message: Message) {
        guard !isOver else { return }
        queue.append(message)
        next()
    }

    /// The link is down: nothing that has not begun will be done any more.
    func cut() {
        guard !isOver else { return }
        isCut = true
        isOver = true
        queue = []
        if !isBusy { finish() }
    }

    private func finish() {
        pipe.cut()
        node.carrierEnded(self, isCut: isCut)
    }

    private func next() {
        guard !isBusy, !queue.isEmpty else { return }
        isBusy = true
        let message = queue.removeFirst()
        if machine.state != .waiting, (try? node.machine.checkNotDismissed(id)) == nil {
            fail("dismissed") {}
            return finish()
        }
        let action: DestinationMachine.Action
        do {
            action = try machine.receive(message)
        } catch {
            node.world.fail("the destination does not understand \(message): \(error)")
            return
        }
        perform(action) { [self] in
            isBusy = false
            if isOver { return finish() }
            next()
        }
    }

    private func perform(_ action: DestinationMachine.Action, _ done: @escaping () -> Void) {
        switch action {
        case .open:
            // A release that knows no summaries says the other.
            pipe.send(hasBase && node.world.chance(70) ? .acceptedOnBase : .accepted, from: .destination)
            done()
        case .compare(let summary):
            node.later(500) { [self] in
                compare(summary)
                done()
            }
        case .resolve(let segment):
            node.later(500) { [self] in
                resolve(segment)
                done()
            }
        case .answer:
            preconditionFailure("nobody asks for a prefix here")
        case .clear(let blocks):
            store(blocks) {
                Array(repeating: 0, count: self.disk.sectors(of: $0..<$0 + 1).count)
            } then: {
                done()
            }
        case .store(let segment, _):
            var bytes = segment.compressed
            let block = segment.runs[0].first
            let values = disk.sectors(of: block..<block + 1).map { _ in bytes.readInteger(as: UInt32.self)! }
            store(block..<block + 1) { _ in
                values
            } then: {
                done()
            }
        case .finishManifest:
            pipe.send(.manifestDone, from: .destination)
            done()
        case .finishRound(let round):
            node.synchronize { [self] isDurable in
                guard isDurable else { return fail("the image can't be made durable", done) }
                pipe.send(.roundDone(round), from: .destination)
                done()
            }
        case .prepare(let theirs): prepare(theirs, done)
        case .prepareRest: prepareRest(done)
        case .expect(let switchover):
            node.expectEarly(id, switchover)
            node.sayIfSwitchIsWanted()
            done()
        case .forget(let runs):
            named += runs
            for run in runs {
                present.forget(run)
                for block in run { node.setManifest(.zero, of: block) }
            }
            done()
        case .note: preconditionFailure("no disk of the simulator has a dirty bitmap")
        case .activate:
            node.takeOver(id) { [self] isMine in
                if isMine {
                    machine.activated()
                    pipe.send(.active, from: .destination)
                }
                isOver = true
                done()
            }
        case .abandon(let reason):
            if node.abandon(id) { pipe.send(.failed(reason: reason), from: .destination) }
            isOver = true
            done()
        }
    }

    private func compare(_ summary: ManifestSummary) {
        var differences = ManifestDifferences(first: summary.first, differs: [], present: 0)
        for group in summary.groups.indices {
            let blocks = summary.blocks(of: group)
            let known = blocks.map { disk.fingerprint($0, in: node.image) }
            let isSame = Fingerprint.combined(known) == summary.groups[group]
            differences.differs.append(!isSame)
            guard isSame else { continue }
            present.mark(blocks)
            for (block, fingerprint) in zip(blocks, known) {
                node.setManifest(fingerprint, of: block)
                if fingerprint != .zero { differences.present += disk.geometry.byteCount(of: block..<block + 1) }
            }
        }
        pipe.send(.differences(differences), from: .destination)
    }

    private func resolve(_ segment: ManifestSegment) {
        var wanted: [Bool] = []
        var found: [Fingerprint] = []
        var (present, neighbour) = (0 as UInt64, 0 as UInt64)
        for (offset, entry) in segment.entries.enumerated() {
            let block = segment.first + UInt64(offset)
            var isWanted = false
            switch entry {
            case .zero: put(.zero, block)
            case .later: node.setManifest(.zero, of: block)
            case .prefix(let prefix):
                let old = disk.fingerprint(block, in: node.image)
                if hasBase, old.high == prefix {
                    node.setManifest(old, of: block)
                    self.present.mark(block..<block + 1)
                    found.append(old)
                    present += disk.geometry.byteCount(of: block..<block + 1)
                } else if let other = node.neighbour.first(where: { $0.high == prefix }) {
                    put(other, block)
                    found.append(other)
                    neighbour += disk.geometry.byteCount(of: block..<block + 1)
                } else {
                    isWanted = true
                    node.setManifest(.zero, of: block)
                }
            }
            wanted.append(isWanted)
        }
        pipe.send(
            .wants(
                Wants(
                    first: segment.first, wanted: wanted, present: present, repeated: 0, neighbour: neighbour,
                    check: Fingerprint.combined(found))),
            from: .destination)
    }

    private func put(_ fingerprint: Fingerprint, _ block: UInt64) {
        if node.faults.contains(.uncheckedRoots), node.world.chance(5) {
            return present.mark(block..<block + 1)
        }
        node.image.write(disk.values(fingerprint, of: block), at: disk.sectors(of: block..<block + 1).lowerBound)
        node.setManifest(fingerprint, of: block)
        present.mark(block..<block + 1)
    }

    private func store(
        _ blocks: Range<UInt64>, _ values: @escaping (UInt64) -> [UInt32], then done: @escaping () -> Void
    ) {
        node.later(300) { [self] in
            for block in blocks { put(disk.fingerprint(values(block)), block) }
            done()
        }
    }

    /// The attempt is over; the source keeps the disk.
    private func fail(_ reason: String, _ done: () -> Void) {
        node.world.note("arrival fails: \(reason)")
        pipe.send(.failed(reason: reason), from: .destination)
        isOver = true
        isCut = false
        done()
    }

    private func prepare(_ theirs: DiskRoot, _ done: @escaping () -> Void) {
        node.synchronize { [self] isDurable in
            guard isDurable else { return fail("the image can't be made durable", done) }
            let ours = disk.root(node.wholeManifest(), without: [])
            guard ours == theirs, present.missing() == 0 else {
                pipe.send(.prepared(ours), from: .destination)
                return done()
            }
            node.prepare(id, ours, present: nil) { [self] isNoted in
                if isNoted { prepared(ours, done) } else { fail("the state store fails", done) }
            }
        }
    }

    private func prepareRest(_ done: @escaping () -> Void) {
        node.synchronize { [self] isDurable in
            guard isDurable else { return fail("the image can't be made durable", done) }
            let missing = present.missingRuns()
            for block in missing.joined() { node.setManifest(.zero, of: block) }
            let root = disk.root(node.wholeManifest(), without: missing)
            node.prepare(id, root, present: missing.isEmpty ? nil : present) { [self] isNoted in
                guard isNoted else { return fail("the state store fails", done) }
                if !missing.isEmpty, saysAll || missing != named.ascending {
                    pipe.send(.postcopy(.missing(missing.map { BlockRange($0) })), from: .destination)
                }
                prepared(root, done)
            }
        }
    }

    private func prepared(_ root: DiskRoot, _ done: @escaping () -> Void) {
        machine.prepared()
        pipe.send(.prepared(root), from: .destination)
        done()
    }
}
