import Synchronization

/// Keeps the sessions of a server at their loops while all loops are asked about them. Any thread may use it.
///
/// - A loop calls `begin` before it gives a session away, and the new loop calls `end` once it has the session.
/// - `hold` comes before all loops are asked, and `release` after it. In between no move begins. One that had begun before
///   may still be under way, as `isClear` tells.
final class MoveGate: Sendable {
    private let holds = Atomic<Int>(0)
    private let underWay = Atomic<Int>(0)
    private let ended = Atomic<Int>(0)

    /// Moves that have ended so far.
    var count: Int { ended.load(ordering: .relaxed) }

    /// Whether no session is between two loops. While it is held, this stays true once it was.
    var isClear: Bool { underWay.load(ordering: .sequentiallyConsistent) == 0 }

    func hold() { holds.add(1, ordering: .sequentiallyConsistent) }

    func release() { holds.subtract(1, ordering: .sequentiallyConsistent) }

    /// Begins a move.
    /// - Returns: false if none may begin now.
    func begin() -> Bool {
        // Counted first: whoever holds the gate either is seen here, or sees the move.
        underWay.add(1, ordering: .sequentiallyConsistent)
        guard holds.load(ordering: .sequentiallyConsistent) == 0 else {
            underWay.subtract(1, ordering: .sequentiallyConsistent)
            return false
        }
        return true
    }

    /// Ends a move: the new loop has the session.
    func end() {
        ended.add(1, ordering: .relaxed)
        underWay.subtract(1, ordering: .sequentiallyConsistent)
    }
}
