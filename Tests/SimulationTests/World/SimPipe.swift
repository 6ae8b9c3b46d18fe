import Migration

@testable import Migration
@testable import MigrationProtocol

/// A connection between the two nodes: messages arrive in order, each way for itself, after a time; it can be cut at any
/// moment.
final class SimPipe: SimPart {
    enum End: Int {
        case source
        case destination

        var other: End { self == .source ? .destination : .source }
    }

    private let world: World
    private var latency: () -> UInt64
    private var arrival: [UInt64] = [0, 0]
    private(set) var isOpen = true
    var onMessage: [(Message) -> Void] = [{ _ in }, { _ in }]
    var onClosed: [() -> Void] = [{}, {}]

    init(world: World, latency: @escaping () -> UInt64) {
        self.world = world
        self.latency = latency
        world.add(self)
    }

    func letGo() {
        isOpen = false
        onMessage = [{ _ in }, { _ in }]
        onClosed = [{}, {}]
        latency = { 0 }
    }

    /// The destination is there from then on, and hears nothing earlier.
    func opens(after delay: UInt64) { arrival[End.destination.rawValue] = world.now + delay }

    func send(_ message: Message, from end: End) {
        guard isOpen else { return }
        let to = end.other.rawValue
        arrival[to] = max(arrival[to] + 1, world.now + latency())
        world.after(arrival[to] - world.now) { [self] in
            guard isOpen else { return }
            onMessage[to](message)
        }
    }

    /// Nothing arrives any more; each end hears of it some time later.
    func cut() {
        guard isOpen else { return }
        isOpen = false
        for closed in onClosed { world.soon(5000) { closed() } }
    }

    /// One end is gone and hears of nothing.
    func drop(_ end: End) {
        onMessage[end.rawValue] = { _ in }
        onClosed[end.rawValue] = {}
        cut()
    }
}
