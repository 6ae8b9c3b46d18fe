import Block
import BlockModel
import Index
import Logging
import MigrationProtocol

/// Opens what a prepared disk needs to be served: its image, and what post-copy works with.
struct DiskActivation: Sendable {
    let images: ImageDirectory
    let records: IncomingRecords
    let host: any IncomingDiskHost
    let pools: WorkPools
    let logger: Logger
    /// Opens the neighbours; nil if there are none.
    let index: @Sendable () -> NeighbourIndex?

    /// The image of a prepared disk, under the name that it is to have.
    /// - Throws: if it is gone, or another image stands in its place.
    func image(of known: PreparedDisk) async throws -> any DiskImage {
        let image: any DiskImage
        if let received = known.receiving { image = received.image } else { image = try await find(known.record) }
        try check(image, known.record)
        try images.place(image, of: known.record) { try records.state.flush(directory: $0) }
        return image
    }

    /// The image of a disk of an earlier life.
    func find(_ record: IncomingRecord) async throws -> any DiskImage {
        if record.isReturn, let base = await host.base(of: record.export, isRestored: true) {
            return try base.writableImage()
        }
        // The operator may have put the disk into the configuration, and the node has opened it already.
        if !record.isReturn, !record.needsSource, let open = await host.image(of: record.export),
            try record.isAbout(open)
        {
            return open
        }
        if let line = record.place {
            return try await open(TargetPlace(line: line), size: record.size, for: record.export)
        }
        return try record.imagePath.map { try RawImage(path: $0, access: .readWrite) } ?? images.image(of: record)
    }

    /// Opens the place that a command has made for a disk.
    /// - Throws: `PlaceInUse`; `MigrationError.refused` if it can't be used for another reason.
    func open(_ place: TargetPlace, size: UInt64, for export: String) async throws -> any DiskImage {
        if place.isPlain { return try place.open(size: size) }
        let image: any DiskImage
        do { image = try await host.open(place.location, format: place.format, for: export) } catch {
            // QEMU says in words only whether something else has it open.
            throw PlaceInUse(reason: "the place that was prepared for the disk there can't be used: \(error)")
        }
        guard image.isWritable else { throw MigrationError.refused("\(place.location) can't be written there") }
        guard image.size == size else {
            throw MigrationError.refused(
                "\(place.location) has \(image.size) bytes there, and the disk \(size): only a raw file or a device may be "
                    + "larger than its disk")
        }
        if let problem = (image as? NBDDiskImage)?.sharingProblem { throw MigrationError.refused(problem) }
        return image
    }

    /// Whether an image holds no data; a device still holds the bytes of its earlier use. Another server may take long to
    /// answer, and everything else goes on meanwhile.
    /// - Throws: `FileError`.
    func isBlank(_ image: any DiskImage) async throws -> Bool {
        try await pools.background.runIfActive { try image.nextData(from: 0) == nil }
    }

    /// - Throws: if an image is not the one that a record is about.
    private func check(_ image: any DiskImage, _ record: IncomingRecord) throws {
        // A whole disk may have grown since.
        guard image.size == record.size || (!record.needsSource && record.phase == .active && image.size > record.size)
        else {
            throw MigrationError.unexpected("\(image.path) is not the \(record.size) bytes long that arrived")
        }
        guard try record.isAbout(image) else {
            throw DoubtfulImage(
                path: image.path, file: records.path(of: record.export), state: records.state.scratch)
        }
    }

    /// The present map and the manifest of a disk of which blocks are missing.
    func parts(of known: PreparedDisk) throws -> PostCopyFiles {
        let record = known.record
        guard let geometry = record.blocks else {
            throw MigrationError.unexpected("blocks of \(record.blockSize ?? 0) bytes")
        }
        return try known.parts
            ?? PostCopyFiles(
                store: PresentMapStore(path: images.layout.mapPath(of: record.export), geometry: geometry),
                manifest: FingerprintFile(
                    geometry: geometry, path: images.layout.manifestPath(of: record.export), isNew: false))
    }

    private func neighbours(of record: IncomingRecord) -> NeighbourIndex? {
        let index = index()
        return record.domains.map { index?.restricted(to: Set($0)) } ?? index
    }

    /// The post-copy of such a disk, which has not begun.
    /// - Parameter complete: called once everything is here; throws if it is to be called again.
    func postCopy(
        of record: IncomingRecord, _ image: any DiskImage, _ parts: PostCopyFiles, channels: PostCopyChannels,
        origins: BlockOrigins,
        complete: @escaping @Sendable (Ledger) async throws -> Void
    ) throws -> PostCopy {
        try PostCopy(
            parts: PostCopy.Parts(
                export: record.export, image: image, store: parts.store, manifest: parts.manifest,
                announced: FingerprintFile(geometry: parts.store.map.geometry, directory: records.state.scratch),
                index: neighbours(of: record), channels: channels, pools: pools, logger: logger, complete: complete,
                origins: origins))
    }
}
