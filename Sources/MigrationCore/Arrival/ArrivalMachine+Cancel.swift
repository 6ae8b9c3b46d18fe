import MigrationProtocol

/// Cancelling the arrival of disks, by the operator of this node. It is possible as long as their sources have
/// certainly not given them away (invariants 5 and 6).
extension ArrivalMachine {
    /// The next step of a cancellation. Asked again after each step, until `end`.
    package mutating func advance(_ cancel: inout ArrivalCancel) -> ArrivalCancel.Step {
        switch cancel.progress {
        case .begun: break
        case .done: return .end(.cancelled)
        case .dismissed(let migration):
            dismissals[migration] = nil
            if arrivals[migration] == nil { return endCancel(&cancel) }
            cancel.progress = .begun
        case .asked(let migration):
            return decide(migration, &cancel)
        }
        guard let migration = names[cancel.export] else {
            return isDeserted(cancel.export) ? endCancel(&cancel) : .end(.unknown)
        }
        switch arrivals[migration] {
        case .receiving?:
            // Its source may begin again while it is given up.
            guard cancel.attemptsLeft > 0, let carrier = carriers[migration] else { return .end(.broughtAgain) }
            cancel.attemptsLeft -= 1
            cancel.progress = .dismissed(migration)
            dismissals[migration] = ArrivalCancel.reason
            return .dismiss(migration, carrier)
        case .removing?: return .wait(migration)
        case .prepared(let record)? where !record.isCommitted:
            // Its source may have given it away, durably, a moment ago: only the source knows.
            guard let carrier = carriers[migration] else { return decide(migration, &cancel) }
            cancel.progress = .asked(migration)
            return .ask(migration, carrier)
        case .prepared?, .activating?, .active?, nil: return .end(.handedOver)
        }
    }

    /// The source has been asked, or there is none to ask.
    private mutating func decide(_ migration: MigrationID, _ cancel: inout ArrivalCancel) -> ArrivalCancel.Step {
        switch arrivals[migration] {
        case nil: return .end(.cancelled)
        case .removing?: return .wait(migration)
        case .prepared(let record)? where !record.isCommitted:
            guard cancel.isSourceGone, carriers[migration] == nil else { return .end(.undecided) }
            cancel.progress = .done
            return .remove(beginRemoval(of: migration, keepsImage: record.isReturn))
        case .receiving?:
            // Its source kept the disk, and brings it again.
            cancel.progress = .begun
            return advance(&cancel)
        case .prepared?, .activating?, .active?: return .end(.handedOver)
        }
    }

    /// The disk is given up; its clients are answered no more if no connection brings it.
    private mutating func endCancel(_ cancel: inout ArrivalCancel) -> ArrivalCancel.Step {
        cancel.progress = .done
        return withdraw(cancel.export) ? .withdraw(cancel.export) : .end(.cancelled)
    }
}
