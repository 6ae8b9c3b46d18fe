import Block
import MigrationCore
import MigrationProtocol
import Peer

/// Arriving disks whose places the operator's commands make.
extension IncomingDiskRegistry {
    /// Takes a disk in whose place a command makes. A refusal that is certain comes before the command runs.
    func openInTarget(
        _ offer: Offer, over connection: PeerConnection
    ) async throws -> (disk: ReceivingDisk, carrier: ArrivalConnection) {
        guard preparations.take(connection.peer) else {
            throw MigrationError.refused("\(preparations.total) disks get their places there already; try again later")
        }
        defer { preparations.giveBack(connection.peer) }
        await offerTurns.begin(offer.export)
        preparing.insert(offer.export)
        let outcome: Result<(disk: ReceivingDisk, carrier: ArrivalConnection), any Error>
        do { outcome = .success(try await prepareAndTake(offer, over: connection)) } catch { outcome = .failure(error) }
        preparing.remove(offer.export)
        await offerTurns.end(offer.export)
        return try outcome.get()
    }

    private func prepareAndTake(
        _ offer: Offer, over connection: PeerConnection
    ) async throws -> (disk: ReceivingDisk, carrier: ArrivalConnection) {
        try await whenFree(offer) { asked, base in
            try check(offer, base, isElsewhere: true)
            try machine.checkPlaces(for: asked, from: connection.peer)
            _ = try checkSpace(for: offer, nil)
        }
        let target = try await prepare(offer, over: connection)
        do {
            return try await take(offer, in: target, over: connection)
        } catch let error as PlaceInUse {
            if !target.isResumed {
                try targets.keep(offer.export)
                logger.warning("\(target.place.line) stays as it is: \(error)")
            }
            throw MigrationError.refused(error.reason)
        } catch {
            if !target.isResumed { beginRelease(of: offer.export, isPreparing: true) }
            throw error
        }
    }

    /// Runs the command, and ends it if nobody waits for it any more.
    private func prepare(_ offer: Offer, over connection: PeerConnection) async throws -> PreparedTarget {
        let task = Task { [targets] in try await targets.prepare(offer) }
        connection.whenClosed { task.cancel() }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    private func take(
        _ offer: Offer, in target: PreparedTarget, over connection: PeerConnection
    ) async throws -> (disk: ReceivingDisk, carrier: ArrivalConnection) {
        let image = try await activation.open(target.place, size: offer.size, for: offer.export)
        let isBlank = target.isResumed ? false : try await activation.isBlank(image)
        try await checkIsUnused(image, for: offer.export)
        let disk = ReceivingDisk(
            image: image, hasBase: target.isResumed, movedBy: nil, place: target.place, isBlank: isBlank)
        return try await whenFree(offer) { asked, base in
            guard connection.isOpen else { throw PeerError.cut }
            guard base == nil else {
                throw MigrationError.refused("\(offer.export) has just been released there; migrate it again")
            }
            try check(offer, nil, isElsewhere: true)
            try machine.checkPlaces(for: asked, from: connection.peer)
            let claim = try checkSpace(for: offer, target.place.location)
            logger.info("\(offer.export) gets its place: \(target.place.line)")
            return take(offer, asked, disk, claim, over: connection)
        }
    }

    /// - Throws: `PlaceInUse` if the image is another disk's: an export's, or one that waits for its source.
    private func checkIsUnused(_ image: any DiskImage, for export: String) async throws {
        if let other = await host.export(with: image) {
            throw PlaceInUse(reason: "\(image.path) was prepared for \(export) there, and is the image of \(other)")
        }
        for prefix in [IncomingRecord.prefix, IncomingRecord.returningPrefix] {
            for (_, record) in try records.state.readAll(IncomingRecord.self, prefix: "\(prefix)-")
            where try record.knowsImage && record.isAbout(image) {
                throw PlaceInUse(
                    reason: "\(image.path) was prepared for \(export) there, and \(record.export) has arrived in it")
            }
        }
    }

    // MARK: Releasing

    /// Begins to release the place of a disk that does not come; nothing if no command has made it one.
    /// - Parameter isPreparing: the attempt that prepares the place says so. The end of another attempt must not release
    ///   what is just being made.
    func beginRelease(of export: String, isPreparing: Bool = false) {
        guard isPreparing || !preparing.contains(export) else { return }
        do {
            guard try targets.record(of: export) != nil else { return }
            try targets.beginRelease(of: export)
        } catch { return logger.error("the place of \(export) is not released: \(error)") }
        let number = nextRelease
        nextRelease += 1
        releases[number] = Task { [targets] in
            await targets.release(export)
            releaseEnded(number)
        }
    }

    private func releaseEnded(_ number: UInt64) { releases[number] = nil }

    /// Waits until no place is being released.
    public func waitForReleases() async {
        for task in releases.values { await task.value }
    }

    /// Releases the place of a disk that no connection brings, and that is not prepared.
    /// - Returns: nil if no command has made it one.
    func cancelTarget(of export: String) async -> ArrivalCancellation? {
        do {
            guard try targets.record(of: export) != nil else { return nil }
            guard !preparing.contains(export) else {
                return .impossible(
                    "the place of \(export) is being prepared; cancel it at its source, or try again later")
            }
            try targets.beginRelease(of: export)
        } catch { return .impossible("the place of \(export) can't be released: \(error)") }
        await targets.release(export)
        let isLeft = (try? targets.record(of: export)) != nil
        return isLeft ? .impossible("the place of \(export) is not released; the log says why") : .cancelled
    }

    /// Takes up the records of places of earlier lives. The place of a disk that has been switched over is the disk's.
    func restoreTargets() throws {
        for export in try targets.exports() {
            guard let record = try targets.record(of: export) else { continue }
            if let arrived = try records.read(export), arrived.phase == .active, arrived.place == record.place {
                try targets.keep(export)
            } else if record.isReleasing == true {
                beginRelease(of: export)
            }
        }
    }

    /// A disk is this node's, and its place with it.
    func keepTarget(of record: IncomingRecord) {
        guard record.place != nil else { return }
        do { try targets.keep(record.export) } catch {
            logger.warning("the record of the place of \(record.export) stays until the next start: \(error)")
        }
    }
}
