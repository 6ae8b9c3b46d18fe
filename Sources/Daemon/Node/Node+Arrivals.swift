import Block
import BlockModel
import Migration
import MigrationProtocol
import NBDServer

/// Exports of disks that arrive from other nodes.
extension Node {
    /// Name under which clients see the missing blocks of a disk.
    private static let missingContext = "nearblock:missing"

    /// Offers an incoming disk to clients.
    func announce(_ name: String, _ size: UInt64, _ device: BlockDevice) throws -> Disk {
        let disk = Disk(size: size, device: device, loops: loops)
        let export = factory.incoming(name, disk: disk, device: device)
        guard table.add(export, isDefault: false) else { throw NodeError.nameTaken(name) }
        exports[name] = NodeExport(export: export, configuration: nil, backing: nil, records: nil)
        return disk
    }

    /// Withdraws an incoming disk.
    func withdraw(_ name: String) {
        guard let export = exports[name], export.backing == nil else { return }
        table.remove(name)
        exports[name] = nil
    }

    /// Finds the image into which a disk may come back: this node's own, after it has moved away and been released.
    /// - Parameter isRestored: Whether an interrupted return is resumed after a restart.
    /// - Returns: Nil if there is no such image.
    func base(_ name: String, isRestored: Bool) -> ImageBase? {
        guard let export = exports[name], let image = export.backing?.image else { return nil }
        if isRestored { return ImageBase(image: image, movedBy: MigrationID()) }
        guard image.isAtPath else {
            logger.warning(
                "\(name) can't come back: its image is not at \(image.path) any more; put it back, or remove the export"
            )
            return nil
        }
        guard export.isReleased, let moved = try? export.records?.moved(), moved.isReleased else { return nil }
        return ImageBase(image: image, movedBy: moved.migration) { export.isReleased }
    }

    /// An export that has the file or device open that another image has open; nil if none has.
    func export(with image: any DiskImage) -> String? {
        exports.first { (try? $0.value.backing?.image.isOpenOnSame(as: image)) == true }?.key
    }

    /// Opens the place that a command has made for a disk, as a configured export would be. What nothing else tells from
    /// others is known by its location.
    func open(_ location: String, format: String?, for export: String) async throws -> any DiskImage {
        var configuration = ExportConfiguration(backing: location, name: export, isReadOnly: false)
        configuration.format = format
        configuration.identity = location.hasPrefix("/") ? nil : location
        return try await opener.open(configuration, isArriving: true).image
    }

    /// Ends what was shown and postponed while blocks of a disk were missing.
    func completed(_ name: String) async {
        if let export = exports[name] { await markServed(export) }
        exports[name]?.export.maps.remove(Self.missingContext)
        formats.check(exports[name]?.backing?.file, .arrived)
    }

    /// Serves a disk after its switchover to this node.
    func addArrived(_ arrived: ReceivedDisk) async throws -> Disk {
        let disk = try await serveArrived(arrived)
        // The first block may be missing; `completed` checks the format then.
        if arrived.map == nil {
            formats.check(arrived.image as? RawImage, .arrived)
            if let export = exports[arrived.export] { beginMarkingServed(export) }
        }
        if let map = arrived.map, let export = exports[arrived.export] {
            export.export.maps.show(BlockMarks(missing: map), as: Self.missingContext)
        }
        return disk
    }

    private func serveArrived(_ arrived: ReceivedDisk) async throws -> Disk {
        if let movedBy = arrived.supersedes {
            try SourceRecords(directory: state, image: arrived.image).returned(from: movedBy)
        }
        if arrived.isReturn, let export = exports[arrived.export] {
            // After a restart the disk may have moved on already, and is forwarded by its record.
            guard try export.records?.moved() == nil else { return export.export.disk }
            // A disk that came back in an earlier life of the node has its saved bitmap already.
            let isTracked = export.hasMoved ? await returnBitmap(of: export, arrived.bitmap) : true
            await putBack(export, on: arrived.device, keepsBitmap: isTracked)
            let siblings = (try? SharedImages(exports: Array(exports.values)).others(of: export)) ?? []
            for sibling in siblings where sibling.hasMoved || sibling.isHeldBack {
                await putBack(sibling, on: arrived.device, keepsBitmap: false)
            }
            return export.export.disk
        }
        // The operator has put the disk into the configuration since it came.
        if let export = exports[arrived.export], export.configuration != nil, export.backing?.image === arrived.image {
            return export.export.disk
        }
        return try await addNew(arrived)
    }

    /// Serves a disk that was not here before.
    private func addNew(_ arrived: ReceivedDisk) async throws -> Disk {
        let bitmap = arrived.bitmap.flatMap { ChangeBitmap.problem(with: $0.name) == nil ? $0 : nil }
        let backing = Backing(arrived.image, isReadOnly: arrived.isReadOnly)
        // New clients find the export at once, and must not write before the bitmap tracks them.
        let fenced =
            arrived.early ?? Disk(size: backing.size, device: arrived.device, loops: loops, losses: backing.losses)
        let fences = bitmap != nil && arrived.early == nil
        if fences { await fenced.fence() }
        let disk = try add(
            ExportConfiguration(
                backing: arrived.image.path, name: arrived.export, isReadOnly: arrived.isReadOnly,
                dirtyBitmap: bitmap?.name),
            backing, isConfigured: false, arrived: arrived, on: fences ? fenced : nil)
        if let export = exports[arrived.export] { await beginBitmap(of: export, bitmap) }
        if fences { await fenced.unfence() }
        return disk
    }

    /// Serves an export again from the device of a disk that has come back.
    private func putBack(_ export: NodeExport, on device: BlockDevice, keepsBitmap: Bool) async {
        if export.isHeldBack {
            await export.export.disk.replaceDevice(device)
            await export.export.disk.unfence()
            export.setHeldBack(false)
        } else {
            await export.export.disk.switchDevice(device)
        }
        export.markReturned(keepsBitmap: keepsBitmap)
    }
}
