import MigrationProtocol
import Site

/// Tells the site whether another host may take over a disk on an RBD image once this node is gone.
extension Node {
    private static let retryPause = Duration.seconds(10)

    /// Lets another host take a disk over, if all of it is here and it stays here. Tries again later where the store does not
    /// answer, which is safe: the record says that it may not be taken over.
    func markServed(_ export: NodeExport) async {
        guard let claim = export.backing?.claim, isHereWhole(export) else { return }
        // Read in the same step as the rest: a migration that begins from now on makes this void.
        let departures = claim.departures
        do { try await BackingOpener.onThread { try claim.markServed(asOf: departures) } } catch {
            logger.warning("\(export.name) can't be taken over by another host for now: \(error)")
            guard !claim.isFinal(error) else { return }
            tasks.append(Task { await markServedLater(export, claim, departures) })
        }
    }

    /// As `markServed`, and returns at once: clients wait for a switchover, and the store may be slow.
    func beginMarkingServed(_ export: NodeExport) {
        guard export.backing?.claim != nil else { return }
        tasks.append(Task { await markServed(export) })
    }

    /// Lets other hosts take disks over whose migration has failed.
    func markServed(_ exports: [NodeExport], after error: any Error) async {
        // A migration that goes on after a restart may still end elsewhere.
        if case MigrationError.suspended = error { return }
        for export in exports { await markServed(export) }
    }

    private func markServedLater(_ export: NodeExport, _ claim: DiskClaim, _ departures: UInt64) async {
        while (try? await Task.sleep(for: Self.retryPause)) != nil {
            // A reload may have replaced the export and kept its image.
            guard let export = exports[export.name], export.backing?.claim === claim, isHereWhole(export) else {
                return
            }
            do {
                try await BackingOpener.onThread { try claim.markServed(asOf: departures) }
                return
            } catch { if claim.isFinal(error) { return } }
        }
    }

    /// Whether the image holds the newest contents of a disk, and no migration may change that.
    private func isHereWhole(_ export: NodeExport) -> Bool {
        guard export.isHereWhole else { return false }
        // A record that can't be read may say that the disk has moved.
        do { return try export.records?.moved() == nil } catch { return false }
    }

    /// Sees that no host takes over disks that are about to move: the copies here will be old ones. A migration must have
    /// claimed the exports before.
    /// - Throws: `DiskError`, `RadosError` if the store can't be told. Nothing has moved then.
    func markLeaving(_ exports: [NodeExport]) async throws {
        let claims = exports.compactMap(\.backing?.claim)
        for claim in claims { claim.beginDeparture() }
        for claim in claims { try await BackingOpener.onThread { try claim.markLeaving() } }
    }
}
