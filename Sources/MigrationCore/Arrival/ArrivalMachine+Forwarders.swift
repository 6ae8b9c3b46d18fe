import MigrationProtocol

/// Connections that forward requests of a source's clients, and their waits for a disk.
extension ArrivalMachine {
    /// Whether a disk is served.
    package enum DiskStep: Equatable, Sendable {
        case served(ServedDisk)
        /// It will never be served here.
        case never
        /// `answer` says so.
        case wait(ArrivalWait)
    }

    /// A forwarder needs its disk.
    package mutating func wantsDisk(_ migration: MigrationID) -> DiskStep {
        switch arrivals[migration] {
        case .active(let disk)?: return .served(disk)
        case nil: return .never
        case .receiving?, .prepared?, .activating?, .removing?:
            if isStopped { return .never }
            let wait = newWait()
            diskWaits[migration, default: []].append(wait)
            return .wait(wait)
        }
    }

    /// Ends a wait for a disk: its connection has ended.
    package mutating func endWait(for migration: MigrationID, _ wait: ArrivalWait) -> [Action] {
        guard let place = diskWaits[migration]?.firstIndex(of: wait) else { return [] }
        diskWaits[migration]?.remove(at: place)
        if diskWaits[migration]?.isEmpty == true { diskWaits[migration] = nil }
        return [.answer(wait, nil)]
    }

    /// A forwarding connection has been greeted, and has not asked for anything. If there are too many of one migration, the
    /// oldest ends: a source that connects again has given it up.
    /// - Parameter isCommitted: the source says that it has given the disk away.
    /// - Returns: the connection's turn, for `beginForwarding`.
    /// - Throws: `MigrationError.refused` if the disk has been forgotten since the greeting began: nothing would end what is
    ///   kept of its forwarders.
    package mutating func forwarderGreeted(
        _ migration: MigrationID, _ connection: ArrivalConnection, isCommitted: Bool
    ) throws -> (turn: UInt64, actions: [Action]) {
        guard knows(migration) else { throw MigrationError.refused("no disk of that migration is here") }
        let (turn, evicted) = forwarders[migration, default: ForwarderSlots()]
            .greet(connection, isCommitted: isCommitted)
        return (turn, evicted.map { [.close($0)] } ?? [])
    }

    /// A forwarding connection serves requests now, or has ended.
    package mutating func forwarderNotIdle(_ migration: MigrationID, _ connection: ArrivalConnection) {
        forwarders[migration]?.endIdle(connection)
        removeEmptySlots(of: migration)
    }

    /// Whether a forwarding connection may have its requests performed.
    package enum ForwardStep: Equatable, Sendable {
        case begin
        /// Close the older connection, wait for a change, and ask again. A late request of the older one must not land
        /// after a newer one of this (invariant 9).
        case wait(ArrivalConnection)
        /// A later connection has taken its place, and its requests may come too late.
        case late
    }

    /// A forwarding connection has brought its first request, and its disk is served.
    /// - Parameter turn: from `forwarderGreeted`.
    package mutating func beginForwarding(
        _ migration: MigrationID, _ connection: ArrivalConnection, turn: UInt64
    ) -> ForwardStep {
        if let older = forwarders[migration]?.current { return .wait(older) }
        guard forwarders[migration]?.isLate(turn) != true else { return .late }
        forwarders[migration, default: ForwarderSlots()].current = connection
        return .begin
    }

    /// Nothing of the connection that had its requests performed is in flight any more.
    package mutating func forwarderEnded(_ migration: MigrationID, _ connection: ArrivalConnection) -> [Action] {
        guard forwarders[migration]?.current == connection else { return [] }
        forwarders[migration]?.current = nil
        removeEmptySlots(of: migration)
        return changed(migration)
    }

    mutating func removeEmptySlots(of migration: MigrationID) {
        if forwarders[migration]?.isEmpty == true { forwarders[migration] = nil }
    }
}
