import Block
import Index
import TestSupport

@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

/// Two nodes, a guest and everything that can go wrong between them, played from one seed.
final class Simulation: SimPart {
    let world: World
    let disk: SimDisk
    let faults: Faults
    private(set) lazy var source = SimSource(self, contents: contents)
    private(set) lazy var destination = SimDestination(self, neighbour: neighbour)
    private(set) lazy var guest = SimGuest(self, contents: contents)
    private let contents: [UInt32]
    private let neighbour: Set<Fingerprint>
    private let latency: UInt64
    let switchover: Switchover
    private var pipes: [SimPipe] = []
    private var isCalm = false
    /// A machine has gone down, and not only a process.
    private var hasMachineFailed = false
    /// The destination has lost what only the source remembers.
    private var isToBeMadeAgain = false
    /// The machine has gone down that held the disk after the hand-over.
    private(set) var hasLost = false
    /// An image or a state store fails now and then.
    private let failsDisks: Bool
    private let failsStores: Bool
    /// How often per second something goes wrong, and until when.
    private let troubleInterval: UInt64
    private let troubleEnd: UInt64

    init(seed: UInt64, faults: Faults = [], isTracing: Bool = false, isWatching: Bool = false) {
        let world = World(seed: seed, isTracing: isTracing, isWatching: isWatching)
        let blocks =
            world.chance(20)
            ? Int.random(in: 65...200, using: &world.random) : Int.random(in: 3...40, using: &world.random)
        let disk = SimDisk(blocks: blocks, tailSectors: Int.random(in: 1...4, using: &world.random))
        latency = UInt64.random(in: 50...20_000, using: &world.random)
        switchover = Switchover.allCases.randomElement(using: &world.random)!
        troubleInterval = [3_000, 15_000, 60_000, 1_000_000_000].randomElement(using: &world.random)!
        troubleEnd = UInt64.random(in: 0...1_500_000, using: &world.random)
        failsDisks = world.chance(25)
        failsStores = world.chance(25)
        var contents = (0..<disk.sectorCount).map { _ in UInt32.random(in: 1...900, using: &world.random) }
        for block in 0..<disk.geometry.blockCount where world.chance(25) {
            for sector in disk.sectors(of: block..<block + 1) { contents[sector] = 0 }
        }
        var neighbour: Set<Fingerprint> = []
        for block in 0..<disk.geometry.blockCount where world.chance(25) {
            neighbour.insert(disk.fingerprint(Array(contents[disk.sectors(of: block..<block + 1)])))
        }
        self.world = world
        self.disk = disk
        self.faults = faults
        self.contents = contents
        self.neighbour = neighbour
        world.add(self)
    }

    func letGo() { pipes = [] }

    /// Plays to the end.
    /// - Returns: what was violated, or nil.
    func run() -> String? {
        defer { world.end() }
        world.note("switch \(switchover), \(disk.geometry.blockCount) blocks, latency \(latency)")
        guest.run()
        operate()
        trouble()
        // Far more than the slowest link takes once nothing goes wrong any more.
        world.run(until: troubleEnd + 60_000_000) { [self] in isOver }
        if world.violation == nil {
            world.check(isOver, "no progress: \(describe())")
            settle()
        }
        return world.violation
    }

    private func describe() -> String {
        "source \(source.moved == nil ? "has the disk" : "has given it away")"
            + "\(source.isReleased ? ", released" : ""), \(source.migration == nil ? "no migration" : "migrating"); "
            + "destination \(destination.isServing ? "serves" : "does not serve")"
            + "\(destination.resolving == nil ? "" : ", blocks are missing"); guest has finished \(guest.finished)"
    }

    /// The disk has moved, whole, and the guest has done some more since.
    private var isOver: Bool {
        guard isCalm, source.isReleased, destination.isServing, destination.resolving == nil else {
            calmFinished = guest.finished
            return false
        }
        return guest.finished > calmFinished + 20
    }
    private var calmFinished = 0

    /// Lets the guest come to rest and looks at the whole disk.
    private func settle() {
        guest.rest()
        world.run(until: world.now + 30_000_000) { [self] in guest.isQuiet }
        world.check(guest.isQuiet, "the guest's requests do not end")
        guest.model.compare(destination.image.read(0..<disk.sectorCount), "the destination's image")
    }

    // MARK: Operators

    private func operate() {
        source.migrate(switchover)
        if switchover == .firstWrite { world.soon(300_000) { [self] in moveGuest() } }
        operateAgain()
    }

    private func moveGuest() {
        if destination.isAnsweringEarly || destination.isServing { return guest.move() }
        world.soon(50_000) { [self] in moveGuest() }
    }

    private func operateAgain() {
        world.soon(30_000) { [self] in
            switch Int.random(in: 0..<10, using: &world.random) {
            case 0 where !isCalm: source.migration?.cancel()
            case 1, 2: source.migration?.switchOver()
            case 3 where !isCalm && world.chance(20): destination.cancel()
            default: source.migrate(switchover)
            }
            operateAgain()
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
            switch Int.random(in: 0..<9, using: &world.random) {
            case 0: crash(source.crash, source.restart)
            case 1, 2: crash(destination.crash, destination.restart)
            case 3 where !hasMachineFailed: destination.fillUp(for: 30_000)
            case 3, 4, 5, 6: pipes.filter(\.isOpen).randomElement(using: &world.random)?.cut()
            default: for pipe in pipes where pipe.isOpen { pipe.cut() }
            }
            trouble()
        }
    }

    /// An image can't be made durable, until an operator has repaired its disk and started the node again.
    private func failDisk() {
        let isSource = world.chance(50)
        (isSource ? source.image : destination.image).failNext()
        world.soon(300_000) { [self] in reopenFailed() }
    }

    private func reopenFailed() {
        if source.image.hasFailed, source.isUp {
            source.crash(ofMachine: false)
            world.soon(20_000) { [self] in source.restart() }
        }
        if destination.image.hasFailed, destination.isUp {
            destination.crash(ofMachine: false)
            world.soon(20_000) { [self] in destination.restart() }
        }
    }

    private func failStore() {
        let time = UInt64.random(in: 1...200_000, using: &world.random)
        let isSource = world.chance(50)
        if isSource { source.failStore(for: time) } else { destination.failStore(for: time) }
        guard world.chance(50) else { return }
        // Operators start a node again whose store is in trouble, and machines with such a store go down.
        let (crash, restart) =
            isSource ? (source.crash, source.restart) : (destination.crash, destination.restart)
        world.soon(time) { [self] in
            guard !isCalm else { return }
            self.crash(crash, restart)
            guard world.chance(50) else { return }
            world.soon(time + 60_000) { [self] in if !isCalm { self.crash(crash, restart) } }
        }
    }

    /// Whether something could not be made durable, so that a guest may hear of it.
    var hasDiskFailed: Bool {
        hasImageFailed || source.image.hasFailed || destination.image.hasFailed
            || destination.hasStoreFailed
    }
    private var hasImageFailed = false

    private func crash(_ crash: (Bool) -> Void, _ restart: @escaping () -> Void) {
        // What the source would make again may find no room, and then the guest's next flush fails.
        let isMachine = world.chance(40) && !destination.hasBeenFull
        if isMachine { hasMachineFailed = true }
        crash(isMachine)
        world.soon(60_000) { restart() }
    }

    private func calm() {
        isCalm = true
        world.note("calm")
        source.mendDisk()
        destination.mendDisk()
        world.after(100_000) { [self] in
            reopenFailed()
            source.restart()
            destination.restart()
        }
    }

    func nodeCrashed(_ end: SimPipe.End, ofMachine: Bool, withFailedDisk hasFailed: Bool) {
        if hasFailed { hasImageFailed = true }
        guest.lostNode(end)
        // Whoever holds the disk takes what was not flushed along. Where the guest stays at the source, that one makes
        // its changes again, if it lives until then.
        let holder: SimPipe.End = source.moved == nil ? .source : .destination
        if end == .source {
            if isToBeMadeAgain || (ofMachine || hasFailed) && holder == .source { guest.model.crash() }
            isToBeMadeAgain = false
        } else if ofMachine || hasFailed, holder == .destination {
            if switchover == .converged, !source.hasForgotten, !hasDiskFailed {
                isToBeMadeAgain = true
                guest.model.crashTrimmed()
            } else {
                hasLost = true
                guest.model.crash()
            }
        }
    }

    func madeAgain() {
        isToBeMadeAgain = false
    }

    // MARK: Connections

    func connect(_ purpose: Hello.Purpose, _ id: MigrationID, isCommitted: Bool) -> SimPipe {
        pipes.removeAll { !$0.isOpen }
        let pipe = SimPipe(world: world) { [self] in UInt64.random(in: latency / 2...latency, using: &world.random) }
        pipes.append(pipe)
        let opening = UInt64.random(in: 1...latency, using: &world.random)
        pipe.opens(after: opening)
        world.after(opening) { [self] in
            guard pipe.isOpen else { return }
            destination.accept(purpose, id, isCommitted: isCommitted, pipe)
        }
        return pipe
    }

    /// Everything that ends at a node that has gone down is cut.
    func dropConnections(of end: SimPipe.End) {
        for pipe in pipes where pipe.isOpen { pipe.drop(end) }
    }
}
