import MigrationProtocol
import Peer

/// Disks whose arrival the operator of this node gives up.
extension IncomingDiskRegistry {
    private static let cancelled = "cancelled at the destination by its operator"
    /// How long a source may take to hear of it before its connection is closed.
    private static let hearing = Duration.seconds(1)
    /// How long a source that may have given its disk away may take to say whether it has.
    private static let deciding = Duration.seconds(3)
    private static let interval = Duration.milliseconds(10)
    /// How often a disk that its source brings again is given up.
    private static let attempts = 3

    /// Gives up a disk that comes here, wherever its migration stands, as long as it is certain that its source has not given
    /// it away. Its source is told, and keeps it; what has come of it goes, as after a cancel at the source.
    /// - Parameter isSourceGone: the operator knows that the source will not come back, so that nobody will say any more whose
    ///   the disk is.
    public func cancel(_ export: String, isSourceGone: Bool = false) async -> ArrivalCancellation {
        // Its source may begin again while it is given up.
        for _ in 0..<Self.attempts {
            if let outcome = await attemptCancel(export, isSourceGone) { return outcome }
        }
        return .impossible("the source of \(export) brings it again and again; cancel it there")
    }

    /// - Returns: nil where the disk is arriving, again or still.
    private func attemptCancel(_ export: String, _ isSourceGone: Bool) async -> ArrivalCancellation? {
        guard let migration = names[export] else { return await withdraw(export) ? .cancelled : .unknown }
        if case .receiving? = arrivals[migration] {
            await dismiss(migration, because: Self.cancelled)
            if arrivals[migration] == nil {
                logger.notice("the migration of \(export) to this node was cancelled here")
                // Clients that are answered for a disk that nobody brings.
                if isDeserted(export) { _ = await withdraw(export) }
                return .cancelled
            }
        }
        // Its source may have given it away, durably, a moment ago: only the source knows (invariant 5).
        if case .prepared? = arrivals[migration], let connection = receivers[migration]?.connection {
            say(Self.cancelled, on: connection)
            await wait(atMost: Self.deciding) { if case .prepared? = arrivals[migration] { true } else { false } }
        }
        switch arrivals[migration] {
        case nil: return .cancelled
        case .prepared? where isSourceGone && receivers[migration] == nil:
            return await dropWithoutSource(migration, export)
        case .prepared?:
            return .impossible(
                "all of \(export) that is to come before the switchover is here, and its source may have given it away "
                    + "already; cancel it there, or, if that node will not come back: nearblock cancel \(export) "
                    + "--source-is-gone")
        case .activating?, .active?: return .handedOver
        case .receiving?: return nil
        }
    }

    private func dropWithoutSource(_ migration: MigrationID, _ export: String) async -> ArrivalCancellation {
        do { try await abandon(migration) } catch {
            return .impossible("what is noted of \(export) can't be removed: \(error)")
        }
        logger.warning("\(export) was given up by the operator, without its source's word")
        return .cancelled
    }

    /// Disks that are prepared here and that nobody brings: only their sources know whether they have been given away.
    public var waitingForSources: [(export: String, size: UInt64)] {
        names.compactMap { name, migration in
            guard case .prepared(let record, _, _)? = arrivals[migration], receivers[migration] == nil,
                record.phase == .prepared
            else { return nil }
            return (name, record.size)
        }
    }

    /// Ends the connection that brings a disk, and tells its source why. On return nothing of the disk is written any more.
    private func dismiss(_ migration: MigrationID, because reason: String) async {
        guard let connection = receivers[migration]?.connection else { return }
        dismissed[migration] = Dismissal(reason: reason)
        say(reason, on: connection)
        // One that is busy ends by itself at its next message.
        await wait(atMost: Self.hearing) { receivers[migration] != nil }
        await endReceiver(of: migration)
        dismissed[migration] = nil
    }

    /// Does not wait for a source that does not listen.
    private func say(_ reason: String, on connection: PeerConnection) {
        Task { try? await connection.send(Message.failed(reason: reason).encoded()) }
    }

    private func wait(atMost limit: Duration, while isSo: () -> Bool) async {
        let end = ContinuousClock.now + limit
        while isSo(), ContinuousClock.now < end { try? await Task.sleep(for: Self.interval) }
    }
}
