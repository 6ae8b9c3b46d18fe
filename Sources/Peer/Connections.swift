import Synchronization

/// Counts what is open.
final class Connections: Sendable {
    private let count = Atomic<Int>(0)

    /// Whether there was room for one more.
    func begin(atMost limit: Int) -> Bool {
        let isWithin = count.add(1, ordering: .relaxed).newValue <= limit
        if !isWithin { end() }
        return isWithin
    }

    func end() { count.subtract(1, ordering: .relaxed) }
}
