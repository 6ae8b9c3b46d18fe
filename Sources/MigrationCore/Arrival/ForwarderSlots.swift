import PeerModel

/// The connections over which the source of one migration forwards requests: one performs them, some wait.
struct ForwarderSlots: Sendable {
    /// Performs requests. The next connection begins only after this one has ended (invariant 9).
    var current: ArrivalConnection?
    /// Connections that have not asked for anything; the oldest goes where there are too many.
    private var idle = EvictingQueue<ArrivalConnection>(limit: PeerLimits.idleForwardersPerMigration)
    /// The number of greetings so far.
    private var latestTurn: UInt64 = 0
    /// The last greeting that said that the disk is this node's.
    private var committedTurn: UInt64 = 0

    var isEmpty: Bool { current == nil && idle.isEmpty && latestTurn == 0 }

    /// Whether any connection is open.
    var isConnected: Bool { current != nil || !idle.isEmpty }

    /// A connection has been greeted.
    /// - Returns: its turn, and the connection that has to go for it.
    mutating func greet(_ connection: ArrivalConnection, isCommitted: Bool) -> (
        turn: UInt64, evicted: ArrivalConnection?
    ) {
        latestTurn += 1
        if isCommitted { committedTurn = latestTurn }
        return (latestTurn, idle.append(connection))
    }

    /// A connection serves requests now, or has ended.
    mutating func endIdle(_ connection: ArrivalConnection) { idle.removeAll { $0 == connection } }

    /// Whether the source has said since that turn, on another connection, that the disk is this node's. Requests of
    /// the older connection may then come too late.
    func isLate(_ turn: UInt64) -> Bool { turn < committedTurn }

    /// Nothing is known of the migration any more.
    mutating func forgetTurns() { (latestTurn, committedTurn) = (0, 0) }
}
