import Block
import BlockModel
import MigrationCore
import MigrationProtocol

/// Disks that are prepared, and served once their sources have committed.
extension IncomingDiskRegistry {
    /// Records durably that a disk is prepared; its image must be durable already.
    /// - Parameter bitmap: the bits of its dirty bitmap, which are not kept over a restart; nil if it has none.
    func prepare(_ record: IncomingRecord, _ parts: PostCopyFiles?, _ bitmap: BitmapKeeper.Bits?) throws {
        try machine.checkMayPrepare(record.migration)
        guard let disk = receiving[record.migration] else { preconditionFailure("a disk without an image") }
        // A later life would not find a file that has no name any more.
        guard disk.image.isAtPath else {
            throw MigrationError.refused(
                "\(disk.image.path) has been replaced or deleted while the disk arrived in it")
        }
        var record = record
        record.place = disk.place?.line
        if let movedBy = disk.movedBy {
            record.comeBack(into: disk.image.path, movedBy: movedBy, last: try records.read(record.export))
        }
        let image = try images.standing(disk.image, record)
        record.image = image
        record.inode = image.legacyFile.inode
        try records.state.flush(directory: images.realPath)
        try records.write(prepared: record)
        receiving[record.migration] = nil
        prepared[record.migration] = PreparedDisk(
            record: record, receiving: disk, parts: parts, bitmap: bitmap)
        perform(machine.prepared(record.arrival))
    }

    /// Serves a disk whose source has committed. May be called again.
    /// - Throws: if there is no such disk, or its image is gone.
    @discardableResult
    func takeOver(_ migration: MigrationID) async throws -> Disk {
        switch try machine.committed(migration) {
        case .served(let disk): return disks[disk]
        case .join:
            guard let task = activations[migration] else { preconditionFailure("an activation without a task") }
            return try await task.value
        case .serve:
            let task = Task { try await activate(migration) }
            activations[migration] = task
            return try await task.value
        }
    }

    private func activate(_ migration: MigrationID) async throws -> Disk {
        guard let known = prepared[migration] else { preconditionFailure("a prepared disk without a record") }
        defer { activations[migration] = nil }
        do {
            let disk = try await serve(known)
            prepared[migration] = nil
            chains.arrived(disk)
            perform(machine.served(migration, as: disks.add(disk)))
            return disk
        } catch {
            perform(machine.servingFailed(migration))
            throw error
        }
    }

    private func serve(_ known: PreparedDisk) async throws -> Disk {
        let record = known.record
        let image = try await activation.image(of: known)
        try records.write(active: record)
        machine.recorded(record.migration)
        keepTarget(of: record)
        guard record.needsSource else {
            images.removeArrivalFiles(of: record.export)
            blockMaps.finish(record.export)
            finish(record.migration)
            let disk = try await activate(known, image, try record.served(image).device, nil)
            if let ledger = record.arrived { repeatCompletion(ledger, record.migration) }
            return disk
        }
        return try await servePartly(known, image)
    }

    private func activate(
        _ known: PreparedDisk, _ image: any DiskImage, _ device: BlockDevice, _ map: DurablePresentMap?
    ) async throws -> Disk {
        let record = known.record
        let export = early[record.export]
        let disk = try await host.activate(
            ReceivedDisk(
                export: record.export, image: try record.served(image), device: device, map: map, early: export?.disk,
                supersedes: record.supersedes, isReturn: record.imagePath != nil,
                isReadOnly: record.isReadOnly ?? false,
                bitmap: record.bitmap.map { MovedBitmap(name: $0, bits: known.bitmap) }))
        early[record.export] = nil
        if let export {
            export.device.open(device)
            await export.disk.switchDevice(device)
        }
        return disk
    }

    /// Releases the claims of a disk that is here whole.
    private func finish(_ migration: MigrationID) {
        space.remove(migration)
        machine.completed(migration)
    }

    // MARK: Disks of which blocks are missing

    private func servePartly(_ known: PreparedDisk, _ image: any DiskImage) async throws -> Disk {
        let record = known.record
        let parts = try activation.parts(of: known)
        let postCopy = try activation.postCopy(
            of: record, image, parts, channels: channels[record.migration] ?? PostCopyChannels(),
            origins: blockMaps.continue(record.export, parts.store.map.geometry)
        ) { [self] in try await complete(record, image, $0) }
        let map = parts.store.map
        // The map says what the image holds: a server that loses blocks that came must not give older bytes for them.
        image.refuseAfterLosses(true)
        let device = ResolvingDevice(image: image, map: map, resolver: postCopy)
        // Only a file system fills up by what is missing. What another server stores would take many questions.
        let stored = image.isFile ? try image.allocatedBytes() : 0
        space.add(
            space.claim(
                image.path, size: record.size, blockSize: map.geometry.blockSize,
                dataBytes: stored.addingClamped(
                    map.missing.multipliedClamped(by: UInt64(map.geometry.blockSize)))),
            for: record.migration)
        blockMaps.show(map, of: record.export)
        // Known before any client can ask for the disk: it must not be taken for whole.
        postCopies[record.export] = postCopy
        do {
            let disk = try await activate(known, image, device, map)
            postCopy.start()
            return disk
        } catch {
            postCopies[record.export] = nil
            throw error
        }
    }

    /// Records durably that everything is here, and serves the disk as any other.
    private func complete(_ record: IncomingRecord, _ image: any DiskImage, _ ledger: Ledger) async throws {
        var record = record
        record.arrived = ledger
        try records.write(active: record)
        // All may have come before the disk's being served was recorded.
        let disk = try await takeOver(record.migration)
        await disk.fence()
        image.refuseAfterLosses(false)
        await disk.replaceDevice(((try? record.served(image)) ?? image).device)
        await disk.unfence()
        finish(record.migration)
        postCopies[record.export] = nil
        perform(machine.hasChanged(record.migration))
        images.removeArrivalFiles(of: record.export)
        blockMaps.finish(record.export)
        await host.completed(record.export)
        logger.info("\(record.export) is here whole", metadata: blockMaps.ledger(of: record.export))
    }

    /// Tells a source that comes again, because it has not heard so, that everything is here.
    private func repeatCompletion(_ ledger: Ledger, _ migration: MigrationID) {
        let channels = channels[migration] ?? PostCopyChannels()
        self.channels[migration] = channels
        channels.listen(
            PostCopyChannels.Listener(
                event: { event in
                    if case .up(.bulk, _, _) = event { channels.send(.postcopy(.complete(ledger)), on: .bulk) }
                }, message: { _, _ in }))
    }
}
