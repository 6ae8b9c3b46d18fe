import TestSupport

@testable import Migration
@testable import MigrationProtocol

/// Two nodes, a guest with one disk or several, and everything that can go wrong between them, played from one seed.
final class Simulation: SimPart {
    let world: World
    private let source: SimSourceNode
    /// One for each disk of the guest.
    let moves: [SimMove]
    /// The guest's memory; nil if only the disks move.
    private let memory: SimMemory?
    private let switchover: Switchover
    private var isCalm = false
    /// A machine has gone down, and not only a process.
    private var hasMachineFailed = false
    /// An image or a state store fails now and then.
    private let failsDisks: Bool
    private let failsStores: Bool
    /// How often per second something goes wrong, and until when.
    private let troubleInterval: UInt64
    private let troubleEnd: UInt64

    init(seed: UInt64, faults: Faults = [], isTracing: Bool = false, isWatching: Bool = false) {
        let world = World(seed: seed, isTracing: isTracing, isWatching: isWatching)
        let isSingle = world.chance(70) && !faults.needsGroups
        let count = isSingle ? 1 : Int.random(in: 2...3, using: &world.random)
        let isLarge = count == 1 && world.chance(20)
        let latency = UInt64.random(in: 50...20_000, using: &world.random)
        // Without memory, chance is asked as it was before there was any: the seeds that find other faults stay.
        let hasMemory = faults.needsMemory || faults.isEmpty && seed % 3 == 0
        let isQuiet = hasMemory && world.chance(70)
        // Pages refer to blocks that were confirmed before the switchover, and are not dirty.
        let switchover = isQuiet ? .manual : Switchover.allCases.randomElement(using: &world.random)!
        let pause: UInt64 = isQuiet ? [5000, 20_000].randomElement(using: &world.random)! : 1500
        let interval: UInt64 = [3_000, 15_000, 60_000, 1_000_000_000].randomElement(using: &world.random)!
        troubleEnd = UInt64.random(in: 0...1_500_000, using: &world.random)
        // A mutation is looked for in worlds in which it can show; the other seeds play every kind of world.
        failsDisks = world.chance(25) || faults.needsFailingDisks
        failsStores = world.chance(25) || faults.needsFailingStores
        troubleInterval = faults.needsFailingDisks || faults.needsFailingStores ? min(interval, 15_000) : interval
        let source = SimSourceNode(world: world, faults: faults)
        moves = (0..<count).map { _ in
            SimMove(
                source, switchover, latency: latency, mostBlocks: count == 1 ? 40 : 14, isLarge: isLarge, pause: pause)
        }
        source.disks = moves.map(\.source)
        memory = hasMemory ? SimMemory(source, moves) : nil
        self.world = world
        self.source = source
        self.switchover = switchover
        world.add(self)
    }

    func letGo() {}

    /// Plays to the end.
    /// - Returns: what was violated, or nil.
    func run() -> String? {
        defer { world.end() }
        world.note("switch \(switchover), \(moves.map { "\($0.disk.geometry.blockCount)" }) blocks")
        source.worstMoment = { [unowned self] in operateAtWorst() }
        for move in moves { move.guest.run() }
        memory?.begin()
        operate()
        trouble()
        // Far more than the slowest link takes once nothing goes wrong any more.
        world.run(until: troubleEnd + 60_000_000) { [self] in isOver }
        if world.violation == nil {
            let parts = moves.map(\.description) + [memory?.description].compactMap(\.self)
            world.check(isOver, "no progress: \(parts.joined(separator: "; "))")
            settle()
        }
        return world.violation
    }

    /// The disks have moved, whole, and the guest has done some more with each since; the memory has arrived.
    private var isOver: Bool { moves.allSatisfy { $0.isOver(isCalm: isCalm) } && memory?.isOver != false }

    /// Lets the guest come to rest and looks at the whole disks.
    private func settle() {
        for move in moves { move.guest.rest() }
        world.run(until: world.now + 30_000_000) { [self] in moves.allSatisfy(\.guest.isQuiet) }
        for move in moves {
            world.check(move.guest.isQuiet, "the guest's requests do not end")
            move.guest.model.compare(move.destination.image.read(0..<move.disk.sectorCount), "the destination's image")
        }
        source.checkUnity("at the end")
    }

    // MARK: Operators

    private func operate() {
        source.migrate(switchover)
        if switchover == .firstWrite {
            world.soon(300_000) { [self] in for move in moves { move.moveGuest() } }
        }
        operateAgain()
    }

    private func operateAgain() {
        world.soon(30_000) { [self] in
            switch Int.random(in: 0..<12, using: &world.random) {
            case 0 where !isCalm: source.cancel()
            case 1, 2: source.switchOver()
            case 3: source.limitRate(UInt64.random(in: 1...(isCalm ? 1 : 4), using: &world.random))
            case 4 where !isCalm && world.chance(20): moves.randomElement(using: &world.random)!.destination.cancel()
            default: source.migrate(switchover)
            }
            operateAgain()
        }
    }

    /// Behind the fence, while the commit record is in doubt, once an attempt has failed, and after a restart.
    private func operateAtWorst() {
        guard world.chance(15) else { return }
        world.soon(3000) { [self] in
            for _ in 0..<Int.random(in: 1...2, using: &world.random) {
                switch Int.random(in: 0..<4, using: &world.random) {
                case 0 where !isCalm: source.cancel()
                case 1: source.limitRate(UInt64.random(in: 1...(isCalm ? 1 : 4), using: &world.random))
                case 2: source.migrate(switchover)
                default: source.switchOver()
                }
            }
        }
    }

    // MARK: What goes wrong

    private func trouble() {
        world.soon(min(troubleInterval, troubleEnd + 1)) { [self] in
            guard world.now < troubleEnd else { return calm() }
            if failsDisks, world.chance(30) {
                failDisk()
                return trouble()
            }
            if failsStores, world.chance(30) {
                failStore()
                return trouble()
            }
            let pipes = moves.flatMap(\.pipes).filter(\.isOpen)
            switch Int.random(in: 0..<9, using: &world.random) {
            case 0: crash(.source)
            case 1, 2: crash(.destination)
            case 3 where !hasMachineFailed: for move in moves { move.destination.fillUp(for: 30_000) }
            case 3, 4, 5, 6: pipes.randomElement(using: &world.random)?.cut()
            default: for pipe in pipes { pipe.cut() }
            }
            trouble()
        }
    }

    /// An image can't be made durable, until an operator has repaired its disk and started the node again.
    private func failDisk() {
        let move = moves.randomElement(using: &world.random)!
        let isSource = world.chance(50)
        (isSource ? move.source.image : move.destination.image).failNext()
        world.soon(300_000) { [self] in reopenFailed() }
    }

    private func reopenFailed() {
        if source.isUp, moves.contains(where: \.source.image.hasFailed) {
            crash(.source, ofMachine: false)
            world.soon(20_000) { [self] in restart(.source) }
        }
        if moves.contains(where: { $0.destination.image.hasFailed && $0.destination.isUp }) {
            crash(.destination, ofMachine: false)
            world.soon(20_000) { [self] in restart(.destination) }
        }
    }

    private func failStore() {
        let time = UInt64.random(in: 1...200_000, using: &world.random)
        let end: SimPipe.End = world.chance(50) ? .source : .destination
        switch end {
        case .source: source.store.fail(for: time)
        case .destination: for move in moves { move.destination.failStore(for: time) }
        }
        guard world.chance(50) else { return }
        // Operators start a node again whose store is in trouble, and machines with such a store go down.
        world.soon(time) { [self] in
            guard !isCalm else { return }
            crash(end)
            guard world.chance(50) else { return }
            world.soon(time + 60_000) { [self] in if !isCalm { crash(end) } }
        }
    }

    private func crash(_ end: SimPipe.End) {
        // What the source would make again may find no room, and then the guest's next flush fails.
        let isMachine = world.chance(40) && !moves.contains(where: \.destination.hasBeenFull)
        if isMachine { hasMachineFailed = true }
        crash(end, ofMachine: isMachine)
        world.soon(60_000) { [self] in restart(end) }
    }

    private func crash(_ end: SimPipe.End, ofMachine isMachine: Bool) {
        memory?.crashed(end)
        switch end {
        case .source: source.crash(ofMachine: isMachine)
        case .destination: for move in moves { move.destination.crash(ofMachine: isMachine) }
        }
    }

    private func restart(_ end: SimPipe.End) {
        switch end {
        case .source: source.restart()
        case .destination: for move in moves { move.destination.restart() }
        }
    }

    private func calm() {
        isCalm = true
        memory?.calm()
        world.note("calm")
        source.store.mend()
        source.limitRate(1)
        for move in moves {
            move.source.image.mend()
            move.destination.mendDisk()
        }
        world.after(100_000) { [self] in
            reopenFailed()
            restart(.source)
            restart(.destination)
        }
    }
}
