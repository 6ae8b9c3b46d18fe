import MigrationProtocol

/// Disks that are prepared, found again after a restart, and served.
extension ArrivalMachine {
    // MARK: Prepared

    /// Checks that an arriving disk may be recorded as prepared.
    /// - Throws: `MigrationError` if it is not arriving, or this node ends its arrival.
    package func checkMayPrepare(_ migration: MigrationID) throws {
        guard case .receiving? = arrivals[migration] else {
            throw MigrationError.unexpected("a disk that is not arriving")
        }
        try checkNotDismissed(migration)
    }

    /// An arriving disk is here, as far as it is to be before the switchover, and that is recorded durably.
    package mutating func prepared(_ record: ArrivalRecord) -> [Action] {
        guard case .receiving(let keepsImage)? = arrivals[record.migration] else {
            preconditionFailure("only a disk that arrives can be prepared")
        }
        precondition(keepsImage == record.isReturn && !record.isCommitted)
        arrivals[record.migration] = .prepared(record)
        return changed(record.migration)
    }

    // MARK: After a restart

    /// The driver's step for a record of an earlier process.
    package enum RestoreStep: Equatable, Sendable {
        /// Another record of the same migration tells more; remove this one.
        case discard
        /// The disk waits for its source, which decides.
        case wait
        /// The disk is this node's: `committed` begins to serve it.
        case serve
    }

    /// A node that starts has found a record. Records of disks that return come after the others.
    package mutating func restored(_ record: ArrivalRecord) -> RestoreStep {
        guard arrivals[record.migration] == nil else { return .discard }
        replaced[record.migration] = names[record.export]
        names[record.export] = record.migration
        arrivals[record.migration] = .prepared(record)
        if let base = record.supersedes { returns[base] = record.migration }
        return record.isCommitted ? .serve : .wait
    }

    // MARK: Served

    /// The driver's step for a source that has committed.
    package enum CommitStep: Equatable, Sendable {
        /// Record durably that the disk is active, tell `recorded`, serve the disk, and tell `served`; `servingFailed` if any
        /// of that fails. The record is written even if one of an earlier life says so already: that one may not have reached
        /// the disk.
        case serve
        /// The disk is about to be served; wait for that.
        case join
        case served(ServedDisk)
    }

    /// A source has given a disk away, or an earlier life of this node has recorded that. May come again.
    /// - Throws: `MigrationError.refused` if no such disk waits here.
    package mutating func committed(_ migration: MigrationID) throws -> CommitStep {
        switch arrivals[migration] {
        case .active(let disk)?: return .served(disk)
        case .activating?: return .join
        case .prepared(var record)?:
            record.isCommitted = true
            arrivals[migration] = .activating(record, isRecorded: false)
            return .serve
        case .receiving?, .removing?, nil:
            throw MigrationError.refused("no disk of that migration waits here")
        }
    }

    /// The record says, durably, that a disk is active.
    package mutating func recorded(_ migration: MigrationID) {
        guard case .activating(let record, _)? = arrivals[migration] else {
            preconditionFailure("only a disk that its source has given away is recorded as active")
        }
        arrivals[migration] = .activating(record, isRecorded: true)
    }

    /// A disk is served here from now on.
    package mutating func served(_ migration: MigrationID, as disk: ServedDisk) -> [Action] {
        guard case .activating(let record, isRecorded: true)? = arrivals[migration] else {
            preconditionFailure("a disk is served only once its record is durable")
        }
        for known in record.known { arrivals[known] = .active(disk) }
        announced[record.export] = nil
        let answers = (diskWaits.removeValue(forKey: migration) ?? []).map { Action.answer($0, disk) }
        return answers + changed(migration)
    }

    /// A disk could not be served. It is this node's all the same; the next commit of its source tries again.
    package mutating func servingFailed(_ migration: MigrationID) -> [Action] {
        guard case .activating(let record, _)? = arrivals[migration] else {
            preconditionFailure("a disk that was not to be served")
        }
        arrivals[migration] = .prepared(record)
        return changed(migration)
    }

    /// All of a disk is here.
    package mutating func completed(_ migration: MigrationID) { places.end(migration) }

    // MARK: Other names of a disk

    /// A source of a disk says by which migrations others forward to it. They may forward here, and no other disk becomes
    /// theirs by that: a migration that is known here already stays what it is.
    /// - Returns: those that are new; `accepted` takes them once they are recorded. None if there is nothing to record.
    /// - Throws: `MigrationError` if the disk has not been switched over.
    package func introduced(_ others: [MigrationID], by migration: MigrationID) throws -> [MigrationID] {
        guard served(migration) != nil else { throw MigrationError.unexpected("an introduction before the switchover") }
        var seen: Set<MigrationID> = []
        return others.filter { arrivals[$0] == nil && seen.insert($0).inserted }
    }

    /// The export whose record is to hold the other migrations of a disk; nil if none is. If the disk is on its way back here,
    /// its record is still that of its earlier life.
    package func recordedExport(of disk: ServedDisk) -> String? {
        names.first { isServed($0.value, as: disk) || replaced[$0.value].map { isServed($0, as: disk) } == true }?.key
    }

    private func isServed(_ migration: MigrationID, as disk: ServedDisk) -> Bool {
        arrivals[migration] == .active(disk)
    }

    /// Checks that a record may hold so many other migrations.
    /// - Throws: `MigrationError.refused`.
    package static func checkAliases(_ count: Int) throws {
        guard count <= OfferLimits.maximumAliases else {
            throw MigrationError.refused("\(count) other nodes would forward here")
        }
    }

    /// Other migrations of a disk have been recorded durably: their sources may forward here.
    package mutating func accepted(_ others: [MigrationID], for disk: ServedDisk) {
        for other in others where arrivals[other] == nil { arrivals[other] = .active(disk) }
    }
}
