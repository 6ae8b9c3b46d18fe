import NIOConcurrencyHelpers

/// Limits the rate at which a host lends bytes to all others together. Any thread may use it.
///
/// Reading for others is at low priority, but sending is not: one event loop serves all connections of peers. So where the node's
/// own clients need all the cores, less is lent.
package final class LendingPace: Sendable {
    /// The time that may be made up for after a pause: bursts are this long.
    private static let burst = Duration.milliseconds(20)
    /// The time by which short reads may be ahead of the limit: a client may wait for them.
    private static let headStart = Duration.milliseconds(50)
    /// Bytes of the longest short read.
    private static let shortRead = Int(LentPieces.length)

    /// Bytes a second while clients need the cores: a twentieth of a core (`benchmarks/site --part lending`, 2026-12-01).
    static let besideClients: UInt64 = 48_000_000

    private let bytesPerSecond: UInt64?
    private let clientsNeedCores: @Sendable () -> Bool
    /// The moment at which all that was lent so far is within the limit.
    private let free = NIOLockedValueBox(ContinuousClock.now)

    /// - Parameters:
    ///   - bytesPerSecond: Nil for no limit; 0 counts as 1.
    ///   - clientsNeedCores: Asked with each booking whether the node's own clients need all the cores.
    package init(bytesPerSecond: UInt64?, clientsNeedCores: @escaping @Sendable () -> Bool = { false }) {
        self.bytesPerSecond = bytesPerSecond.map { max(1, $0) }
        self.clientsNeedCores = clientsNeedCores
    }

    /// Books bytes that are about to be lent. All count; a short read need not wait for the long ones before it.
    /// - Returns: The moment until which to wait first.
    func book(_ count: Int, now: ContinuousClock.Instant = .now) -> ContinuousClock.Instant {
        let isBesideClients = clientsNeedCores() && Self.besideClients < bytesPerSecond ?? .max
        guard let limit = isBesideClients ? Self.besideClients : bytesPerSecond else { return now }
        let time = Duration.seconds(Double(count) / Double(limit))
        return free.withLockedValue { free in
            let begin = max(free, now - Self.burst)
            free = begin + time
            guard count <= Self.shortRead else { return max(begin, now) }
            // Another host's client may wait for it as well.
            return isBesideClients ? now : max(begin - Self.headStart, now)
        }
    }
}
