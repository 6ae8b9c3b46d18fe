import Block
import MigrationCore
import MigrationProtocol
import Peer

/// Forwarding connections: they wait until they have something to ask for, and for their disk.
extension IncomingDiskRegistry {
    /// Adds a forwarding connection that has been greeted, and has not asked for anything.
    /// - Parameter isCommitted: the source says that it has given the disk away.
    /// - Returns: the connection's number, for `forwarderNotIdle` and `unregister`, and its turn, for `beginForwarding`.
    /// - Throws: `MigrationError.refused` if the disk has been forgotten meanwhile.
    func forwarderGreeted(
        _ migration: MigrationID, _ connection: PeerConnection, isCommitted: Bool
    ) throws -> (number: ArrivalConnection, turn: UInt64) {
        let number = register(connection)
        do {
            let (turn, actions) = try machine.forwarderGreeted(migration, number, isCommitted: isCommitted)
            perform(actions)
            return (number, turn)
        } catch {
            unregister(number)
            throw error
        }
    }

    /// Removes it from those that have not asked for anything: it serves requests now, or has ended.
    func forwarderNotIdle(_ migration: MigrationID, _ number: ArrivalConnection) {
        machine.forwarderNotIdle(migration, number)
    }

    /// The disk, once it is served here; nil if it will never be, or `connection`, for which it is wanted, has ended.
    func disk(of migration: MigrationID, for connection: PeerConnection? = nil) async -> Disk? {
        switch machine.wantsDisk(migration) {
        case .served(let disk): return disks[disk]
        case .never: return nil
        case .wait(let wait):
            return await withCheckedContinuation { continuation in
                diskWaits[wait] = continuation
                connection?.whenClosed { [weak self] in Task { await self?.endWait(for: migration, wait) } }
            }
        }
    }

    private func endWait(for migration: MigrationID, _ wait: ArrivalWait) {
        perform(machine.endWait(for: migration, wait))
    }

    /// Ends the link that brought requests for a disk so far, and returns once none of them is in flight. A late
    /// request of the old link must not land after a newer one of the new link (invariant 9).
    /// - Parameter turn: from `forwarderGreeted`.
    /// - Returns: false if a later connection has taken its place, and its requests may come too late.
    func beginForwarding(_ migration: MigrationID, _ number: ArrivalConnection, turn: UInt64) async -> Bool {
        while true {
            switch machine.beginForwarding(migration, number, turn: turn) {
            case .begin:
                if owedFlushes[migration] == nil, let disk = machine.served(migration) {
                    owedFlushes[migration] = OwedFlush(disks[disk].losses)
                }
                return true
            case .late: return false
            case .wait(let older):
                close(older)
                await waitForChange(of: migration)
            }
        }
    }

    /// Lets the next link begin: nothing of the current one is in flight any more.
    func forwarderEnded(of migration: MigrationID, _ number: ArrivalConnection) {
        perform(machine.forwarderEnded(migration, number))
    }

    /// The outcome of a flush of the source's clients. A failure that they are owed outlives the connection that brings it.
    /// - Parameter error: how it ended at the disk, whose losses are counted in `losses`.
    func outcome(ofFlush error: CInt, for migration: MigrationID, _ losses: LossCount) -> CInt {
        owedFlushes[migration, default: OwedFlush(losses)].outcome(of: error)
    }
}
