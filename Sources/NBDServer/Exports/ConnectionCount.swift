import Synchronization

/// The number of connections of an export, on all loops. Any thread may use it.
public final class ConnectionCount: Sendable {
    private let count = Atomic<Int>(0)

    /// Starts at 0.
    public init() {}

    /// The number of connections now.
    public var current: Int { count.load(ordering: .relaxed) }

    /// Counts one more connection, unless there are `limit` already; nil means no limit.
    /// - Returns: whether it was counted; the caller then calls `leave` at its end.
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
