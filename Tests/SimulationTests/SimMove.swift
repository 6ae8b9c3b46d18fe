import TestSupport

@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

/// One disk that moves: the parts of the two nodes that have to do with it, the guest's work on it, and the connections.
final class SimMove: SimPart {
    let world: World
    let disk: SimDisk
    let faults: Faults
    let switchover: Switchover
    /// The node at which the disk is at first.
    unowned let node: SimSourceNode
    private(set) lazy var source = SimSource(self, contents: contents)
    private(set) lazy var destination = SimDestination(self, neighbour: neighbour)
    private(set) lazy var guest = SimGuest(self, contents: contents, pause: pause)
    private let contents: [UInt32]
    private let neighbour: Set<Fingerprint>
    private let latency: UInt64
    private let pause: UInt64
    private(set) var pipes: [SimPipe] = []
    /// The destination has lost what only the source remembers.
    private var isToBeMadeAgain = false
    /// The machine has gone down that held the disk after the switchover.
    private(set) var hasLost = false
    private var hasImageFailed = false
    private var calmFinished = 0
    /// Takes in a connection that brings memory, at the node to which the disk moves.
    var acceptMemory: (SimPipe) -> Void = { $0.drop(.destination) }

    /// - Parameters:
    ///   - mostBlocks: of a disk that is not one of the few large ones.
    ///   - pause: the most time between two requests of the guest, microseconds.
    init(
        _ node: SimSourceNode, _ switchover: Switchover, latency: UInt64, mostBlocks: Int, isLarge: Bool, pause: UInt64
    ) {
        self.node = node
        self.switchover = switchover
        self.latency = latency
        self.pause = pause
        let world = node.world
        self.world = world
        faults = node.faults
        let blocks =
            isLarge
            ? Int.random(in: 65...200, using: &world.random) : Int.random(in: 3...mostBlocks, using: &world.random)
        let partitions = world.chance(50) ? Int.random(in: 1...4, using: &world.random) : 0
        let disk = SimDisk(
            blocks: blocks, tailSectors: Int.random(in: 1...4, using: &world.random),
            partitions: (0..<partitions).map { _ in Int.random(in: 1...4 * blocks, using: &world.random) })
        var contents = (0..<disk.sectorCount).map { _ in UInt32.random(in: 1...900, using: &world.random) }
        for block in 0..<disk.geometry.blockCount where world.chance(25) {
            for sector in disk.sectors(of: block..<block + 1) { contents[sector] = 0 }
        }
        var neighbour: Set<Fingerprint> = []
        for block in 0..<disk.geometry.blockCount where world.chance(25) {
            neighbour.insert(disk.fingerprint(Array(contents[disk.sectors(of: block..<block + 1)])))
        }
        self.disk = disk
        self.contents = contents
        self.neighbour = neighbour
        world.add(self)
    }

    func letGo() { pipes = [] }

    var description: String {
        "source \(source.moved == nil ? "has the disk" : "has given it away")"
            + "\(source.isReleased ? ", released" : ""), \(source.migration == nil ? "no migration" : "migrating"); "
            + "destination \(destination.isServing ? "serves" : "does not serve")"
            + "\(destination.resolving == nil ? "" : ", blocks are missing"); guest has finished \(guest.finished)"
    }

    /// Whether the disk has moved, whole, and the guest has done some more since.
    func isOver(isCalm: Bool) -> Bool {
        guard isCalm, source.isReleased, destination.isServing, destination.resolving == nil else {
            calmFinished = guest.finished
            return false
        }
        return guest.finished > calmFinished + 20
    }

    /// The guest goes to the destination as soon as that answers.
    func moveGuest() {
        if destination.isAnsweringEarly || destination.isServing { return guest.move() }
        world.soon(50_000) { [self] in moveGuest() }
    }

    // MARK: Faults

    /// Whether something could not be made durable, so that a guest may hear of it.
    var hasDiskFailed: Bool {
        hasImageFailed || source.image.hasFailed || destination.image.hasFailed
            || destination.hasStoreFailed
    }

    func nodeCrashed(_ end: SimPipe.End, ofMachine: Bool, withFailedDisk hasFailed: Bool) {
        if hasFailed { hasImageFailed = true }
        guest.lostNode(end)
        // The node that holds the disk takes unflushed changes along. Where the guest stays at the source, that one makes
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

    func madeAgain() { isToBeMadeAgain = false }

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
