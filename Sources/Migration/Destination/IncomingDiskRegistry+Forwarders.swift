import Block
import MigrationProtocol
import Peer
import PeerModel

/// Forwarding connections that wait: to have something to ask for, or for their disk.
extension IncomingDiskRegistry {
    /// A forwarding connection has been greeted, and has not asked for anything. Where there are too many of one migration, the
    /// oldest ends: whoever connects again has given it up.
    /// - Returns: its number, for `forwarderAsked`.
    func forwarderWaits(_ migration: MigrationID, _ connection: PeerConnection) -> UInt64 {
        nextIdleForwarder += 1
        var waiting = idleForwarders[migration] ?? []
        waiting.append(IdleForwarder(number: nextIdleForwarder, connection: connection))
        if waiting.count > PeerLimits.idleForwardersPerMigration { waiting.removeFirst().connection.close() }
        idleForwarders[migration] = waiting
        return nextIdleForwarder
    }

    /// It serves requests now, or has ended.
    func forwarderAsked(_ migration: MigrationID, _ number: UInt64) {
        guard var waiting = idleForwarders[migration] else { return }
        waiting.removeAll { $0.number == number }
        idleForwarders[migration] = waiting.isEmpty ? nil : waiting
    }

    /// The disk, once it is served here; nil where it will never be, or `connection`, for which it is wanted, has ended.
    func disk(of migration: MigrationID, for connection: PeerConnection? = nil) async -> Disk? {
        switch arrivals[migration] {
        case .active(let disk)?: return disk
        case nil: return nil
        case .receiving?, .prepared?, .activating?:
            if isStopped { return nil }
            nextWaiter += 1
            let number = nextWaiter
            return await withCheckedContinuation { continuation in
                waiters[migration, default: []].append(
                    DiskWaiter(number: number) { continuation.resume(returning: $0) })
                connection?.whenClosed { [weak self] in
                    Task { await self?.endWaiting(for: migration, number) }
                }
            }
        }
    }

    private func endWaiting(for migration: MigrationID, _ number: UInt64) {
        guard let place = waiters[migration]?.firstIndex(where: { $0.number == number }) else { return }
        let waiter = waiters[migration]!.remove(at: place)
        if waiters[migration]!.isEmpty { waiters[migration] = nil }
        waiter.answer(nil)
    }
}
