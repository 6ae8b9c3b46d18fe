import Block

/// Changes an index: adds, replaces and removes the tables of neighbours.
///
/// Any number of processes may do so at once, and others may have the index open: tables appear and vanish
/// whole. A process that is killed leaves the index as it was; what it was writing is deleted by the next
/// `add`.
public struct IndexStore: Sendable {
    /// As the user named it.
    public let directory: String
    /// Bytes a block.
    public let blockSize: Int

    private var place: IndexDirectory { IndexDirectory(path: directory) }

    /// Opens the index in `directory`, or makes one there.
    /// - Parameter blockSize: A power of two from 512 to 65536; nil for the index's own, or 4096 for a new
    ///   one.
    /// - Throws: `IndexError` where the block size is no such, or the index is there and has another, or is
    ///   damaged; `FileError`.
    public init(directory: String, blockSize: Int? = nil) throws {
        if let blockSize, !BlockGeometry.isValid(blockSize: blockSize) { throw IndexError.blockSize(blockSize) }
        let place = IndexDirectory(path: directory)
        try place.createIfAbsent()
        // Two may make one index at once: what stands there afterwards counts for both.
        if try IndexSettings.read(from: place) == nil {
            try IndexSettings(blockSize: blockSize ?? BlockGeometry.standardBlockSize).establish(in: place)
        }
        guard let settings = try IndexSettings.read(from: place) else {
            throw IndexError.noIndex(directory: directory)
        }
        if let blockSize, blockSize != settings.blockSize {
            throw IndexError.otherBlockSize(directory: directory, has: settings.blockSize, wanted: blockSize)
        }
        self.directory = directory
        self.blockSize = settings.blockSize
    }

    /// Indexes an image, in place of what was known of it before.
    ///
    /// Needs up to 24 bytes of memory for each distinct block until it is done.
    /// - Parameters:
    ///   - threads: How many read and hash; at least 1.
    ///   - progress: Told now and then, on any thread, how far the reading is.
    /// - Throws: `FileError` or `IndexError`; the index is then as it was.
    public func add(
        _ imagePath: String, threads: Int, progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary {
        let name = try ImageName.existing(imagePath)
        let image = try NeighbourImage.open(name)
        let blocks = TableHeader.blockCount(image.size, blockSize)
        guard blocks <= TableHeader.maximumBlocks else {
            throw IndexError.tooManyBlocks(image: imagePath, blocks: blocks)
        }
        // Before the reading, so that a write during it makes the table look old.
        let identity = try image.identity()
        let built = try TableBuilder(image: image, blockSize: blockSize, threads: threads).build(
            progress: progress)
        let header = TableHeader(
            blockSize: blockSize, imageSize: image.size, zeroBlocks: built.zeroBlocks,
            entryCount: built.parts.reduce(0) { $0 + UInt64($1.count) }, nameLength: name.utf8.count,
            identity: identity)
        let file = IndexFileName.file(forNeighbour: name)
        try place.replace(file) { try TableWriter.write(header, name: name, parts: built.parts, to: $0) }
        return TableSummary(
            neighbour: Neighbour(name: name, header: header, tableFile: place.path(of: file)),
            bytesRead: built.bytesRead)
    }

    /// Indexes an image again if it has changed since, or if that can't be told, as with a block device.
    /// - Returns: Nil where the table is current.
    /// - Throws: As `add`; `IndexError.notIndexed` where the image was never added.
    public func refresh(
        _ imagePath: String, threads: Int, progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary? {
        let name = try ImageName.existing(imagePath)
        let image = try NeighbourImage.open(name)
        let file = place.path(of: IndexFileName.file(forNeighbour: name))
        do throws(TableFault) {
            let table = try Table(path: file, blockSize: blockSize, check: .resident)
            if !image.isBlockDevice, let now = try? image.identity(), now == table.header.identity {
                return nil
            }
        } catch {
            // A table that can't be used is one more reason to write it again; one that never was is not.
            if error == .gone { throw IndexError.notIndexed(image: imagePath, directory: directory) }
        }
        return try add(imagePath, threads: threads, progress: progress)
    }

    /// Takes an image out of the index; it need not exist any more.
    /// - Throws: `IndexError.notIndexed` where it is not in it; `FileError`.
    public func remove(_ imagePath: String) throws {
        let files = Set(ImageName.possible(imagePath).map(IndexFileName.file(forNeighbour:)))
        let deleted = try place.withLock { try files.filter { try place.delete($0) } }
        if deleted.isEmpty { throw IndexError.notIndexed(image: imagePath, directory: directory) }
    }

    /// Reads every table and checks all of it.
    /// - Returns: One line for each that can't be used; none where all is well.
    /// - Throws: `IndexError` or `FileError` where the directory can't be used at all.
    public func verify() throws -> [String] {
        try NeighbourIndex.open(directory: directory, check: .everything).problems
    }
}
