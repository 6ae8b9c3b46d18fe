import Block
import Glibc

@testable import BlockModel

/// A guest that writes, reads, flushes and trims, at first at the source; it may move to the destination. It knows what it
/// may find.
final class SimGuest: SimPart {
    private let world: World
    private unowned let simulation: SimMove
    let model: DiskModel
    private var open: [Int: (operation: GuestOperation, lose: () -> Void)] = [:]
    private var nextOperation = 0
    private var nextValue: UInt32 = 1000
    private(set) var place = SimPipe.End.source
    private var isMoving = false
    private var isResting = false
    private(set) var finished = 0
    private let depth: Int
    /// The most time between two requests, microseconds.
    private let pause: UInt64

    init(_ simulation: SimMove, contents: [UInt32], pause: UInt64) {
        self.pause = pause
        self.simulation = simulation
        world = simulation.world
        model = DiskModel(contents, world: world)
        depth = Int.random(in: 1...5, using: &world.random)
        world.add(self)
    }

    func letGo() { open = [:] }

    var isQuiet: Bool { open.isEmpty }

    func rest() { isResting = true }

    /// Goes to the destination, once what it has asked for is answered and a last flush is done, as hypervisors do.
    func move() {
        guard place == .source, !isMoving else { return }
        isMoving = true
        moveIfQuiet()
    }

    private func moveIfQuiet() {
        guard isMoving, open.isEmpty else { return }
        guard canAsk else { return world.soon(5000) { [self] in moveIfQuiet() } }
        flush { [self] in
            isMoving = false
            place = .destination
            world.note("guest is at the destination")
        }
    }

    private func flush(_ done: @escaping () -> Void) {
        let promise = model.beginFlush()
        submit(
            GuestOperation(kind: .flush, sectors: 0..<0, values: [], isForced: false),
            lose: { [self] in model.loseFlush(promise) }
        ) { [self] _ in
            model.acknowledgeFlush(promise)
            done()
        } failed: { [self] in
            model.loseFlush(promise)
        }
    }

    func run() {
        world.soon(pause) { [self] in
            step()
            run()
        }
    }

    private var canAsk: Bool {
        switch place {
        case .source: simulation.source.isUp
        case .destination:
            simulation.destination.isUp
                && (simulation.destination.isServing || simulation.destination.isAnsweringEarly)
        }
    }

    private func step() {
        guard !isResting, !isMoving, open.count < depth, canAsk else { return }
        let kinds: [RequestKind] = [.write, .write, .write, .read, .read, .flush, .trim, .writeZeroes]
        ask(kinds.randomElement(using: &world.random)!)
    }

    private func range() -> Range<Int> {
        let first = Int.random(in: 0..<model.count, using: &world.random)
        let most = world.chance(20) ? 24 : 6
        return first..<min(model.count, first + Int.random(in: 1...most, using: &world.random))
    }

    private func ask(_ kind: RequestKind) {
        switch kind {
        case .flush:
            flush {}
        case .read:
            let range = range()
            let view = model.beginRead(range)
            submit(GuestOperation(kind: .read, sectors: range, values: [], isForced: false), lose: {}) { [self] in
                model.endRead(view, range, found: $0, "a read at the \(place)")
            }
        case .write, .writeZeroes, .trim:
            let range = range()
            guard !model.isBeingWritten(range) else { return }
            let values = range.map { _ -> UInt32 in
                nextValue += 1
                return kind == .write ? nextValue : 0
            }
            let isForced = kind != .trim && world.chance(15)
            model.beginWrite(values, at: range.lowerBound)
            submit(
                GuestOperation(kind: kind, sectors: range, values: values, isForced: isForced),
                lose: { [self] in model.loseWrite(values, at: range.lowerBound) }
            ) { [self] _ in
                // What was trimmed holds zeros or what was there.
                if kind == .trim { return model.acknowledgeTrim(at: range) }
                model.acknowledgeWrite(values, at: range.lowerBound)
                if isForced { model.acknowledgeForced(values, at: range.lowerBound) }
            }
        case .cache, .status:
            break
        }
    }

    private func submit(
        _ operation: GuestOperation, lose: @escaping () -> Void, _ done: @escaping ([UInt32]) -> Void,
        failed: (() -> Void)? = nil
    ) {
        let id = nextOperation
        nextOperation += 1
        open[id] = (operation, lose)
        world.watch(operation)
        world.note("\(id) asks for \(operation.kind) of \(operation.sectors)\(operation.isForced ? ", forced" : "")")
        let isChange = operation.isChange
        let needsDisk = operation.kind == .flush || operation.isForced
        operation.finish = { [self] error, found in
            guard open.removeValue(forKey: id) != nil else { return }
            world.note("\(id) is answered \(error)")
            // A flush may fail where the machine of a disk that others may write to has gone down.
            let mayFail = failed != nil && simulation.switchover != .converged && simulation.hasLost
            let isFull = error == ENOSPC && isChange && simulation.destination.hasBeenFull
            let mayNotBeDurable = error == EIO && needsDisk && simulation.hasDiskFailed
            world.check(
                error == 0 || mayFail || isFull || mayNotBeDurable,
                "a request of the guest fails with \(error)")
            if error == 0 { done(found) } else { (failed ?? lose)() }
            finished += 1
            moveIfQuiet()
        }
        switch place {
        case .source: simulation.source.submit(operation)
        case .destination: simulation.destination.submit(operation)
        }
    }

    /// The node that it talks to is gone: nobody will answer.
    func lostNode(_ end: SimPipe.End) {
        guard place == end else { return }
        for id in open.keys.sorted() { open.removeValue(forKey: id)!.lose() }
        moveIfQuiet()
    }
}
