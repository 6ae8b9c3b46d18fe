import MigrationCore
import MigrationProtocol
import Peer

/// Disks whose arrival the operator of this node gives up.
extension IncomingDiskRegistry {
    /// Gives up a disk that comes here, wherever its migration stands, as long as it is certain that its source has not given
    /// it away. Its source is told, and keeps it; the blocks that have come are removed, as after a cancel at the source.
    /// - Parameter isSourceGone: the operator knows that the source will not come back, so that nothing will tell any more
    ///   whose the disk is.
    public func cancel(_ export: String, isSourceGone: Bool = false) async -> ArrivalCancellation {
        var cancel = ArrivalCancel(export, isSourceGone: isSourceGone)
        while true {
            switch machine.advance(&cancel) {
            case .dismiss(let migration, let carrier): await dismiss(migration, carrier, export)
            case .ask(let migration, let carrier):
                say(ArrivalCancel.reason, to: carrier)
                await wait(for: migration, atMost: ArrivalCancel.deciding) { $0.isPrepared(migration) }
            case .wait(let migration): await waitUntilIdle(migration)
            case .withdraw(let export): await endEarly(export)
            case .remove(let removal):
                do { try await remove(removal) } catch {
                    return .impossible("what is noted of \(export) can't be removed: \(error)")
                }
                logger.warning("\(export) was given up by the operator, without its source's word")
            case .end(.unknown): return await cancelTarget(of: export) ?? .unknown
            case .end(let outcome): return Self.answer(outcome, export)
            }
        }
    }

    /// Ends the connection that brings a disk, and tells its source why. On return nothing of the disk is written any more.
    private func dismiss(_ migration: MigrationID, _ carrier: ArrivalConnection, _ export: String) async {
        say(ArrivalCancel.reason, to: carrier)
        // A source that is busy ends by itself at its next message.
        await wait(for: migration, atMost: ArrivalCancel.hearing) { !$0.isIdle(migration) }
        close(carrier)
        await waitUntilIdle(migration)
        if !machine.knows(migration) { logger.notice("the migration of \(export) to this node was cancelled here") }
    }

    /// Does not wait for a source that does not listen.
    private func say(_ reason: String, to carrier: ArrivalConnection) {
        guard let connection = connection(carrier) else { return }
        Task { try? await connection.send(Message.failed(reason: reason).encoded()) }
    }

    private static func answer(_ outcome: ArrivalCancel.Outcome, _ export: String) -> ArrivalCancellation {
        switch outcome {
        case .cancelled: .cancelled
        case .unknown: .unknown
        case .handedOver: .handedOver
        case .broughtAgain:
            .impossible("the source of \(export) brings it again and again; cancel it there")
        case .undecided:
            .impossible(
                "all of \(export) that is to come before the switchover is here, and its source may have given it away "
                    + "already; cancel it there, or, if that node will not come back: nearblock cancel \(export) "
                    + "--source-is-gone")
        }
    }
}
