import Synchronization

/// The connections that an export has now, on all loops.
public final class ConnectionCount: Sendable {
    private let count = Atomic<Int>(0)

    /// No connection.
    public init() {}

    /// Counts one more, unless there are `limit` already; nil for no limit.
    /// - Returns: whether it was counted; the caller then gives it back with `leave`.
    func enter(limit: Int?) -> Bool {
        var seen = count.load(ordering: .relaxed)
        while limit.map({ seen < $0 }) ?? true {
            let (isDone, now) = count.weakCompareExchange(expected: seen, desired: seen + 1, ordering: .relaxed)
            if isDone { return true }
            seen = now
        }
        return false
    }

    func leave() { count.wrappingSubtract(1, ordering: .relaxed) }
}
