import Block
import MigrationProtocol

/// Facts about disks that come here, for the operator, and the end of their lives as such.
extension IncomingDiskRegistry {
    /// The disks that connections bring before their switchover, in no order.
    public var beingCopied: [ArrivalStatus] {
        receiving.compactMap { migration, disk in
            machine.export(of: migration).map { disk.progress.status(of: $0, size: disk.image.size) }
        }
    }

    /// The numeric address of the node that brings a disk; nil if none does.
    public func source(of export: String) -> String? {
        machine.migration(of: export).flatMap { machine.carrier(of: $0) }.flatMap { connection($0)?.remoteAddress }
    }

    /// Whether a disk of that name came here and is served.
    public func hasServed(_ export: String) -> Bool {
        machine.migration(of: export).flatMap { machine.served($0) } != nil
    }

    /// Whether a disk of that name comes here and is not whole yet.
    public func isComing(_ export: String) -> Bool {
        machine.migration(of: export) != nil && (!hasServed(export) || postCopies[export] != nil)
    }

    /// Waits until a disk that comes here is served.
    /// - Parameter whole: whether to wait until none of its blocks is missing.
    /// - Returns: false if no disk of that name comes here, or it comes no more.
    /// - Throws: `CancellationError`.
    public func waitForArrival(of export: String, whole: Bool) async throws -> Bool {
        while let migration = machine.migration(of: export) {
            if machine.served(migration) != nil, !whole || postCopies[export] == nil { return true }
            let wait = machine.watch(migration)
            await withTaskCancellationHandler {
                await withCheckedContinuation { watches[wait] = $0 }
            } onCancel: {
                Task { await self.endWatch(migration, wait) }
            }
            try Task.checkCancellation()
        }
        return false
    }

    /// Partial images in the directory that no disk known here uses: interrupted migrations have left them.
    public var leftovers: [ImageLeftover] { images.layout.leftovers(except: machine.exports) }

    /// Whether another node is connected at the moment to forward its clients' requests for an export here.
    public func isForwardedTo(_ export: String) -> Bool {
        machine.migration(of: export).map { machine.isForwardedTo($0) } ?? false
    }

    /// Ends the life of a served disk as one that came here: removes the record of its coming. Its image stays.
    /// - Returns: the reason why it can't be; nil if it has been.
    /// - Throws: if the record can't be removed; the disk then stays what it is.
    public func retire(_ export: String) throws -> String? {
        guard let migration = machine.migration(of: export), machine.served(migration) != nil else {
            return "it did not come here by a migration"
        }
        guard postCopies[export] == nil else { return "blocks of it are missing; wait until they have come" }
        guard !machine.isForwardedTo(migration) else {
            return "another node forwards its clients here; stop that node's export first"
        }
        // Without the record of the coming, a record of its place would have the place released.
        if try targets.record(of: export) != nil { try targets.keep(export) }
        try records.remove(migration, of: export)
        perform(machine.retire(migration))
        return nil
    }
}
