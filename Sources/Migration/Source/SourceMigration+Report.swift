import MigrationProtocol

extension SourceMigration {
    func report(_ isBad: Bool, _ text: String) {
        logger.log(level: isBad ? .error : .notice, "\(job.export) to \(destination): \(text)")
    }

    /// The reason why it is not known whether the disk has moved, and what to do; nil if it is known.
    public var problem: String? {
        guard let doubt = group.doubt else { return nil }
        let unknown = "whether the disk has moved to \(destination) is not known"
        switch (doubt.cause, doubt.isGivenUp) {
        // The record is being written, which takes no longer than a flush.
        case (nil, false): return nil
        case (nil, true):
            return "\(unknown) until its record, which is being written, is durable or not; where that takes long, "
                + "look at the storage of the state directory"
        case (let cause?, false):
            return "\(unknown), and its clients wait: \(cause); make the state directory writable again, or give the "
                + "migration up with: nearblock cancel \(job.export)"
        case (let cause?, true):
            return "the migration has been given up, but \(unknown) until its record has been removed, and its clients "
                + "wait: \(cause); make the state directory writable again"
        }
    }

    /// The free blocks, with those that have gone by post-copy.
    func allFree(_ copied: FreeBytes?) -> FreeBytes? {
        // A disk that went at once was copied before its free blocks were known.
        guard let supply, let known = supply.free?.known else { return copied }
        return FreeBytes(known: known, sent: (copied?.sent ?? 0).addingClamped(supply.freeSent))
    }

    func report(
        _ result: SourceDriver.SwitchedOver, _ links: SourceDriver.Links, _ started: ContinuousClock.Instant
    ) -> MigrationReport {
        let progress = status.withLockedValue { $0 }
        var wire = result.wire
        let forwarded = links.forward.traffic
        wire.control += forwarded
        wire.total += forwarded
        if let supplied = supply?.wire { wire.add(supplied) }
        var ledger = progress.ledger
        if let rest = supply?.ledger { ledger.add(rest) }
        let end = ContinuousClock.now
        return MigrationReport(
            export: job.export, state: "complete", size: job.disk.size, root: result.root.description,
            rounds: progress.round,
            ledger: ledger, free: allFree(progress.free),
            resent: ledger.total - min(ledger.total, job.disk.size), wire: wire,
            seconds: .init(
                total: started.duration(to: end).inSeconds,
                precopy: started.duration(to: result.fenced).inSeconds,
                pause: result.fenced.duration(to: result.end).inSeconds,
                postcopy: result.leavesRest ? result.end.duration(to: end).inSeconds : 0))
    }
}
