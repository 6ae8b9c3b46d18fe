import Migration

/// Cancellation of migrations in both directions.
extension Node {
    /// Cancels a migration of an export and its group, or the arrival of a disk.
    /// - Parameter isSourceGone: Whether to cancel an arrival even if the source may have given the disk away already.
    func cancel(_ name: String, isSourceGone: Bool = false) async throws {
        let known = table.find(name).flatMap { exports[$0.description.name] }
        if known != nil, try dropPutAside(name) { return }
        if let registry, known?.migration == nil,
            try await Self.cancelArrival(
                of: known?.name ?? name, at: registry, isSourceGone: isSourceGone,
                hasLeft: known?.hasMoved == true)
        {
            return
        }
        let (export, migration) = try findMigration(name)
        guard migration.cancel() else { throw NodeError.tooLateToCancel(export.name) }
        var failure: (any Error)?
        for other in exports.values where other.migration?.isTogether(with: migration) == true {
            failure = other.forgetRequest(logger) ?? failure
        }
        // Give the cancellation time to reach the destination.
        await export.waitUntilDecided(migration, atMost: Self.cancelling)
        try Task.checkCancellation()
        if let problem = migration.problem { throw NodeError.unusable("\(export.name): \(problem)") }
        if migration.hasCommitted { throw NodeError.tooLateToCancel(export.name) }
        if let failure { throw NodeError.cancelledButRecorded(export.name, reason: "\(failure)") }
    }

    /// Cancels the arrival of a disk.
    /// - Parameters:
    ///   - isSourceGone: Whether to cancel even if the source may have given the disk away already.
    ///   - hasLeft: Whether the disk has moved on from here.
    /// - Returns: False if no disk of that name arrives.
    /// - Throws: `NodeError` if the disk can't be cancelled.
    private static func cancelArrival(
        of export: String, at registry: IncomingDiskRegistry, isSourceGone: Bool, hasLeft: Bool
    ) async throws -> Bool {
        // The answer may come only after the connection has ended.
        let source = await registry.source(of: export)
        switch await registry.cancel(export, isSourceGone: isSourceGone) {
        case .cancelled: return true
        case .unknown: return false
        case .handedOver:
            if hasLeft { return false }
            throw NodeError.unusable(
                "\(export) has been switched over to this node, which serves it; it can't be cancelled any more, only "
                    + "migrated again")
        case .impossible(let reason):
            throw NodeError.unusable(source.map { "\(reason) (its source is \($0))" } ?? reason)
        }
    }
}
