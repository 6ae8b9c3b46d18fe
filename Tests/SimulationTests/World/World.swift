import TestSupport

/// Simulated time, chance, and what is to happen: everything of a simulation happens here, one thing after the other, in
/// an order that the seed alone decides.
final class World {
    private struct Event {
        let time: UInt64
        let order: UInt64
        let action: () -> Void
    }

    private(set) var now: UInt64 = 0
    /// How much has happened.
    private(set) var happened = 0
    var random: Seeded
    private var events: [Event] = []
    private var order: UInt64 = 0
    private let mostEvents: Int
    private(set) var violation: String?
    /// What happened; kept only where somebody wants to read it.
    private(set) var trace: [String] = []
    private let isTracing: Bool
    /// Every part made so far, as far as it is still there.
    private struct Part {
        weak var part: (any SimPart)?
    }
    private var parts: [Part] = []
    private struct Watched {
        weak var object: AnyObject?
        let name: String
    }
    private var watched: [Watched] = []
    private let isWatching: Bool

    /// - Parameters:
    ///   - isWatching: weak references are kept to all that `watch` is told of.
    ///   - mostEvents: a simulation in which more happens makes no progress; the longest seeds have some 45,000 events.
    init(seed: UInt64, isTracing: Bool, isWatching: Bool = false, mostEvents: Int = 1_000_000) {
        self.mostEvents = mostEvents
        random = Seeded(seed)
        self.isTracing = isTracing
        self.isWatching = isWatching
    }

    /// Takes in a part that must let go at the end.
    func add(_ part: any SimPart) {
        parts.append(Part(part: part))
        watch(part)
    }

    /// Notes an object that must not outlive the simulation.
    func watch(_ object: AnyObject) {
        if isWatching { watched.append(Watched(object: object, name: "\(type(of: object))")) }
    }

    /// The types of the watched objects that are still there, each once, and the number of all that were watched.
    var remaining: (types: Set<String>, watched: Int) {
        (Set(watched.filter { $0.object != nil }.map(\.name)), watched.count)
    }

    /// Breaks every cycle of references: events and parts hold one another while they play.
    func end() {
        events = []
        for part in parts { part.part?.letGo() }
        parts = []
    }

    /// Does something later. Microseconds.
    func after(_ delay: UInt64, _ action: @escaping () -> Void) {
        order += 1
        insert(Event(time: now + delay, order: order, action: action))
    }

    /// Does something at some moment within a time.
    func soon(_ most: UInt64, _ action: @escaping () -> Void) {
        after(UInt64.random(in: 1...max(most, 1), using: &random), action)
    }

    func chance(_ percent: Int) -> Bool { random.chance(percent) }

    /// An invariant does not hold.
    func fail(_ what: String) {
        if violation == nil { violation = "at \(now): \(what)" }
    }

    func check(_ condition: Bool, _ what: @autoclosure () -> String) {
        if !condition { fail(what()) }
    }

    func note(_ what: @autoclosure () -> String) {
        if isTracing { trace.append("\(now) \(what())") }
    }

    /// Lets things happen until nothing is left, an invariant is broken, or `isOver`.
    func run(until limit: UInt64, _ isOver: () -> Bool) {
        while violation == nil, let event = takeFirst(), event.time <= limit {
            now = event.time
            happened += 1
            guard happened <= mostEvents else { return fail("no progress: \(happened) things have happened") }
            event.action()
            if isOver() { return }
        }
    }

    // A binary heap.
    private func insert(_ event: Event) {
        events.append(event)
        var child = events.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(child, parent) else { break }
            events.swapAt(child, parent)
            child = parent
        }
    }

    private func takeFirst() -> Event? {
        guard let first = events.first else { return nil }
        let last = events.removeLast()
        if events.isEmpty { return first }
        events[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < events.count && precedes(child, least) {
                least = child
            }
            guard least != parent else { return first }
            events.swapAt(parent, least)
            parent = least
        }
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        events[left].time != events[right].time
            ? events[left].time < events[right].time : events[left].order < events[right].order
    }
}
