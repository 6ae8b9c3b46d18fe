import TestSupport

@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// The memory of the guest, which its hypervisor sends through the nodes while the disks move. It begins anew until it has
/// arrived once.
final class SimMemory: SimPart {
    let world: World
    let faults: Faults
    let node: SimSourceNode
    private(set) var moves: [SimMove]
    private var source: SimMemorySource?
    private var destination: SimMemoryDestination?
    private var hypervisors: SimHypervisors?
    /// Whether the memory has arrived.
    private(set) var isOver = false
    private(set) var isCalm = false

    private let hasher = BlockHasher()
    /// The bytes of pages by the sectors of the block that they equal, and the reverse.
    private var pages: [Fingerprint: [UInt8]] = [:]
    private var contents: [Fingerprint: Fingerprint] = [:]
    /// Pages that the hypervisor has written, which it may write again.
    private var earlier: [[UInt8]] = []
    private static let mostEarlier = 60
    private var address: UInt64 = 0

    init(_ node: SimSourceNode, _ moves: [SimMove]) {
        self.node = node
        self.moves = moves
        world = node.world
        faults = node.faults
        world.add(self)
    }

    func letGo() {
        hypervisors?.letGo()
        for move in moves { move.acceptMemory = { _ in } }
        moves = []
        source = nil
        destination = nil
        hypervisors = nil
    }

    var description: String {
        "memory \(isOver ? "has arrived" : source == nil ? "waits" : "is on its way"), "
            + "\(hypervisors?.received.count ?? 0) of \(hypervisors?.written.count ?? 0) bytes"
    }

    func calm() { isCalm = true }

    // MARK: Attempts

    func begin() {
        moves[0].acceptMemory = { [self] in accept($0) }
        again(after: 150_000)
    }

    private func again(after delay: UInt64) {
        let mayBeEarly = world.chance(10)
        world.soon(delay) { [self] in attempt(mayBeEarly: mayBeEarly) }
    }

    /// - Parameter mayBeEarly: whether the disks need not have been copied once.
    private func attempt(mayBeEarly: Bool) {
        let isEarly = moves.contains { $0.source.moved == nil && $0.source.agreed?.isConfirmed != true }
        guard node.isUp, !isEarly || mayBeEarly else {
            return world.after(1000) { [self] in attempt(mayBeEarly: mayBeEarly) }
        }
        world.note("memory is sent")
        hypervisors?.letGo()
        let hypervisors = SimHypervisors(self)
        self.hypervisors = hypervisors
        source = SimMemorySource(self, hypervisors)
        hypervisors.run()
        source!.start()
    }

    /// An attempt is over at the source.
    func ended(isWhole: Bool) {
        world.note("memory has \(isWhole ? "" : "not ")arrived")
        source = nil
        isOver = isWhole
        if !isWhole { again(after: 30_000) }
    }

    private func accept(_ pipe: SimPipe) {
        destination?.close()
        destination = SimMemoryDestination(self, hypervisors!, pipe)
    }

    /// A node has gone down.
    func crashed(_ end: SimPipe.End) {
        switch end {
        case .source: source?.crash()
        case .destination: destination?.crash()
        }
    }

    // MARK: What the hypervisor sends

    /// The next bytes of the stream: a page with its header, or something else.
    func piece() -> [UInt8] {
        if world.chance(5) { return Self.bytes(of: UInt64(Int.random(in: 0...5, using: &world.random)) << 12 | 0x10) }
        if world.chance(20) { address = UInt64.random(in: 0..<1 << 40, using: &world.random) << 12 }
        defer { address &+= UInt64(StreamPart.pageBytes) }
        let page = page()
        if page.isEmpty { return Self.bytes(of: address | SimMemoryParser.zeroFlags) + [0] }
        if earlier.count == Self.mostEarlier { earlier.removeFirst() }
        earlier.append(page)
        return Self.bytes(of: address | SimMemoryParser.pageFlags) + page
    }

    private static func bytes(of number: UInt64) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

    /// - Returns: nothing for a page of zeros.
    private func page() -> [UInt8] {
        switch Int.random(in: 0..<10, using: &world.random) {
        case 0: return []
        case 1: return world.random.bytes(StreamPart.pageBytes)
        case 2, 3, 4:
            if let page = earlier.randomElement(using: &world.random) { return page }
            return []
        default:
            let move = moves.randomElement(using: &world.random)!
            let image = move.source.moved == nil ? move.source.image : move.destination.image
            let block = UInt64.random(in: 0..<move.disk.geometry.blockCount, using: &world.random)
            return page(of: move.disk.fingerprint(block, in: image))
        }
    }

    /// The page that equals a block.
    /// - Returns: nothing for zeros.
    func page(of block: Fingerprint) -> [UInt8] {
        if block == .zero { return [] }
        if let page = pages[block] { return page }
        let page = Array(
            repeatElement(Self.bytes(of: block.high) + Self.bytes(of: block.low), count: StreamPart.pageBytes / 16)
                .joined())
        pages[block] = page
        contents[page.withUnsafeBytes { hasher.fingerprint($0) }] = block
        return page
    }

    /// The block that equals a page; nil if none ever did.
    func block(of content: Fingerprint) -> Fingerprint? { contents[content] }
}
