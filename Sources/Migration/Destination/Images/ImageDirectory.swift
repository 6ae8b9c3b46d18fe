import Block
import Foundation
import Glibc
import MigrationProtocol

/// The directory into which disks arrive: their images, and the files that describe what is missing of them.
struct ImageDirectory: Sendable {
    let layout: ImageLayout
    private let path: String
    private let permissions: FilePermissions

    /// - Parameters:
    ///   - path: made if there is none.
    ///   - permissions: of images that are made; those that are there already keep theirs.
    /// - Throws: `FileError`; if a record in `state` can't be read.
    init(path: String, permissions: FilePermissions, state: StateDirectory) throws {
        try? DurableFolder.make(path)
        // The slash has a file in its place fail.
        guard access("\(path)/", W_OK) == 0 else { throw FileError("write into the images directory", path) }
        try permissions.check(in: path)
        self.path = StateDirectory.realPath(path)
        self.permissions = permissions
        layout = try ImageLayout(
            images: self.path, state: state, prefixes: [IncomingRecord.prefix, IncomingRecord.returningPrefix])
    }

    /// The directory as a real path.
    var realPath: String { path }

    // MARK: Before a disk is taken in

    /// Checks that nothing here keeps a disk out.
    /// - Parameters:
    ///   - base: the image into which it would come back.
    ///   - others: the names of exports whose files are here, or will be.
    ///   - isNameTaken: whether clients know another disk by that name.
    ///   - isElsewhere: the disk's place is not in this directory.
    /// - Throws: `MigrationError.refused`.
    func check(
        _ offer: Offer, _ base: ImageBase?, among others: [String], isNameTaken: Bool, isElsewhere: Bool
    ) throws {
        if let rival = layout.rival(of: offer.export, among: others) {
            throw MigrationError.refused(
                "\(offer.export) would become \(layout.path(of: offer.export)), which is the file of \(rival); "
                    + "give one of the exports another name")
        }
        guard base != nil || !isNameTaken else {
            throw MigrationError.refused(
                "it has an export '\(offer.export)' already; give the export another name at the source")
        }
        if let base {
            guard base.image.size == offer.size else {
                throw MigrationError.refused(
                    "\(base.image.path) has \(base.image.size) bytes, and the disk that is to come back \(offer.size); make "
                        + "it as long there, and start that node again")
            }
        } else if !isElsewhere, access(layout.path(of: offer.export), F_OK) == 0 {
            throw MigrationError.refused(
                "\(layout.path(of: offer.export)) exists already; move it away, "
                    + "or give the export another name at the source")
        }
    }

    /// The file into which a disk would come.
    func arrivalPath(of offer: Offer, _ base: ImageBase?) -> String {
        base?.image.path ?? layout.partialPath(of: offer.export)
    }

    /// The partial image that an earlier attempt has left for this disk; nil if there is none of the disk's size.
    func partialImage(for offer: Offer) -> (any DiskImage)? {
        let partial = try? RawImage(
            path: layout.partialPath(of: offer.export), access: .readOnly, followsLink: false)
        return partial?.size == offer.size ? partial : nil
    }

    /// Finds or makes the image of an incoming disk.
    /// - Throws: `MigrationError.refused` if another program uses it; `FileError`.
    func open(_ offer: Offer, _ base: ImageBase?) throws -> ReceivingDisk {
        if let base {
            let image = try base.writableImage()
            // Its blocks count only where they have the right hashes.
            image.forgetLosses()
            return ReceivingDisk(image: image, hasBase: true, movedBy: base.movedBy)
        }
        // Left by an attempt that was interrupted: what it holds counts only if it is what the source names.
        let partial = layout.partialPath(of: offer.export)
        do {
            let image = try RawImage(path: partial, access: .readWrite, followsLink: false)
            if image.size == offer.size { return ReceivingDisk(image: image, hasBase: true, movedBy: nil) }
        } catch let error as ImageInUse {
            throw MigrationError.refused(error.description)
        } catch {}
        unlink(partial)
        return ReceivingDisk(
            image: try RawImage.create(path: partial, size: offer.size, permissions: permissions), hasBase: false,
            movedBy: nil)
    }

    // MARK: At the switchover

    /// The image of a disk that an earlier life has prepared.
    func image(of record: IncomingRecord) throws -> any DiskImage {
        let partial = layout.partialPath(of: record.export)
        // A crash may have come between the renaming and the record of it.
        let isInPlace = access(partial, F_OK) != 0
        return try RawImage(
            path: isInPlace ? layout.path(of: record.export) : partial, access: .readWrite,
            followsLink: isInPlace && !FolderAccess(path).isOpenToOthers)
    }

    /// Gives an image the name of its disk, durably.
    func place(_ image: any DiskImage, of record: IncomingRecord, flush: (String) throws -> Void) throws {
        guard record.imagePath == nil, record.place == nil, access(layout.partialPath(of: record.export), F_OK) == 0,
            let image = image as? RawImage
        else { return }
        try image.rename(to: layout.path(of: record.export))
        // Under either name a later life finds it.
        try flush(path)
    }

    /// An image as its record is to know it: a disk that has not been switched over gets its own name only then.
    func standing(_ image: any DiskImage, _ record: IncomingRecord) throws -> RecordedImage {
        var standing = try RecordedImage(image)
        guard !record.isReturn, record.place == nil else { return standing }
        standing.path = layout.path(of: record.export)
        standing.realPath = standing.path
        return standing
    }

    // MARK: Afterwards

    /// Deletes what describes the arrival of a disk that is here whole.
    func removeArrivalFiles(of export: String) {
        removeMap(of: export)
        removeManifest(of: export)
    }

    func removeMap(of export: String) { PresentMapStore.remove(path: layout.mapPath(of: export)) }
    func removeManifest(of export: String) { unlink(layout.manifestPath(of: export)) }
    func removePartialImage(of export: String) { unlink(layout.partialPath(of: export)) }
}
