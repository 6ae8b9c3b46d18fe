import Synchronization

/// The connections that an export has now, on all loops.
public final class ConnectionCount: Sendable {
    private let count = Atomic<Int>(0)

    /// No connection.
    public init() {}

    /// Counts one more, unless there are `limit` already; nil for no limit.
    /// - Returns: whether it was counted; the caller then gives it back with `leave`.
    func enter(limit: Int?) -> Bool {
        let before = count.wrappingAdd(1, ordering: .relaxed).oldValue
        guard let limit, before >= limit else { return true }
        leave()
        return false
    }

    func leave() { count.wrappingSubtract(1, ordering: .relaxed) }
}
