import Block
import BlockModel
import Foundation

/// Changes an index: adds, replaces and removes the tables of neighbours.
///
/// Several processes may change an index at once, and others may have it open: tables appear and vanish whole. A killed
/// process leaves the index as it was; the next `add` deletes its temporary files.
public struct IndexStore: Sendable {
    /// Path of the directory, as the caller gave it.
    public let directory: String
    /// Block size in bytes.
    public let blockSize: Int
    private let findPlaces: PlaceFinder?

    /// Finds the places at which a block of an image should begin, in bytes from its start and in any order. Given the open
    /// file; blocks its thread. Nil means that they can't be found now.
    public typealias PlaceFinder = @Sendable (CInt) -> [UInt64]?

    private var place: IndexDirectory { IndexDirectory(path: directory) }

    /// Opens the index in `directory`, or creates one there.
    /// - Parameters:
    ///   - blockSize: A power of two from 512 to 65536. Nil takes that of the index, or 4096 for a new index.
    ///   - findPlaces: Finds where blocks of an image begin besides its start; nil for nowhere.
    /// - Throws: `IndexError` if the block size is invalid or differs from the index's, or if the index is damaged or
    ///   too new; `FileError`.
    public init(directory: String, blockSize: Int? = nil, findPlaces: PlaceFinder? = nil) throws {
        if let blockSize, !BlockGeometry.isValid(blockSize: blockSize) { throw IndexError.blockSize(blockSize) }
        let place = IndexDirectory(path: directory)
        try place.createIfAbsent()
        // Two processes may create the index at once; the settings that were written first count for both.
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
        self.findPlaces = findPlaces
        self.blockSize = settings.blockSize
    }

    /// Returns whether a directory holds an index.
    /// - Throws: `IndexError` if it is damaged or too new, `FileError` if it can't be read.
    public static func exists(in directory: String) throws -> Bool {
        try IndexSettings.read(from: IndexDirectory(path: directory)) != nil
    }

    /// Indexes an image, and replaces its earlier table. Reads the whole image; blocks for minutes.
    /// - Parameters:
    ///   - image: A path or an NBD URI.
    ///   - domain: 1 to 255 bytes. Nil keeps the image's domain, or takes `Neighbour.standardDomain`.
    ///   - origins: Those of `origins(of:)` at some moment; nil for those of now.
    ///   - progress: Called now and then, on any thread, with how far the reading has come.
    /// - Throws: `FileError`, `NBDClientError` or `IndexError`; the index is then unchanged.
    public func add(
        _ image: String, domain: String? = nil, origins: [UInt64]? = nil, options: BuildOptions,
        progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary {
        let builder = builder(options)
        let summary = try builder.publish(
            try read(image, domain: domain, origins: origins, with: builder, options, progress: progress))
        try? dropFormerNames()
        // A failed merge changes no answer; the next change tries it again.
        try? merge(options)
        return summary
    }

    /// Indexes images as `add` does one; reads each while the one before it is made durable.
    /// - Parameters:
    ///   - begins: Called before each image; returns a callback for its progress, or nil.
    ///   - ends: Called after each image, in order, on any thread.
    /// - Throws: `FileError`, `NBDClientError` or `IndexError`; images before the one that failed are indexed.
    public func add(
        _ images: [String], domain: String? = nil, options: BuildOptions,
        begins: (String) -> (@Sendable (BuildProgress) -> Void)?, ends: @escaping @Sendable (TableSummary) -> Void
    ) throws {
        let builder = builder(options)
        defer {
            try? dropFormerNames()
            try? merge(options)
        }
        var earlier: BackgroundThread<Void>?
        for image in images {
            let draft: TableBuilder.Draft
            do { draft = try read(image, domain: domain, with: builder, options, progress: begins(image)) } catch {
                try earlier?.wait()
                throw error
            }
            try earlier?.wait()
            earlier = BackgroundThread { ends(try builder.publish(draft)) }
        }
        try earlier?.wait()
    }

    /// The origins of an image's blocks, as its partitions are now; nil if they can't be found now.
    /// - Throws: `FileError`, `NBDClientError` or `IndexError` if there is no such image.
    public func origins(of image: String) throws -> [UInt64]? {
        try NeighbourImage.source(try ImageName.existing(image)).origins(blockSize: blockSize, findPlaces)
    }

    /// The origins of an image's table that are below `size`, in bytes; none if there is no table.
    public func lastOrigins(of image: String, below size: UInt64) -> [UInt64] {
        ((try? table(ImageName.existing(image)).geometry.origins) ?? []).filter { $0 < size }
    }

    private func read(
        _ image: String, domain: String?, origins: [UInt64]? = nil, with builder: TableBuilder, _ options: BuildOptions,
        progress: (@Sendable (BuildProgress) -> Void)?
    ) throws -> TableBuilder.Draft {
        let name = try ImageName.existing(image)
        let source = try NeighbourImage.source(name)
        let domain = try checked(domain ?? currentDomain(name))
        let blocks = TableHeader.blockCount(source.size, blockSize)
        let origins =
            origins ?? source.origins(blockSize: blockSize, findPlaces) ?? lastOrigins(of: image, below: source.size)
        guard let geometry = BlockGeometry(size: source.size, blockSize: blockSize, origins: origins),
            geometry.blockCount <= TableHeader.maximumBlocks
        else { throw IndexError.tooManyBlocks(image: image, blocks: blocks) }
        return try builder.read(source, geometry, name: name, domain: domain, progress: progress)
    }

    private func builder(_ options: BuildOptions) -> TableBuilder {
        TableBuilder(directory: place, blockSize: blockSize, options: options)
    }

    /// Indexes an image again if it has changed, or if that can't be told, as with block devices and NBD URIs.
    /// - Returns: Nil if the table is current.
    /// - Throws: The errors of `add`; `IndexError.notIndexed` if the image was never added.
    public func refresh(
        _ image: String, options: BuildOptions, progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary? {
        let name = try ImageName.existing(image)
        do throws(TableFault) {
            let table = try table(name)
            if (try? isCurrent(table)) == true { return nil }
        } catch {
            // Rewrite a table that can't be used; refuse an image that was never indexed.
            if error == .gone { throw IndexError.notIndexed(image: image, directory: directory) }
        }
        return try add(image, options: options, progress: progress)
    }

    /// Indexes only the given blocks of an image again.
    /// - Parameters:
    ///   - blocks: Block numbers of this index: at least all that have changed since the image was indexed.
    ///   - origins: Those by which the blocks are numbered.
    /// - Throws: The errors of `add`; `IndexError.notIndexed` if there is no table of this image, size and origins.
    ///   `CancellationError` once `options.isWanted` returns false; the index is then unchanged.
    public func update(
        _ image: String, blocks: [UInt64], origins: [UInt64] = [], options: BuildOptions
    ) throws -> TableSummary {
        let name = try ImageName.existing(image)
        let source = try NeighbourImage.source(name)
        guard let old = try? table(name), old.header.imageSize == source.size, old.geometry.origins == origins,
            // Another image at the same path needs a new table.
            try source.isImage(of: old.header) != false
        else {
            throw IndexError.notIndexed(image: image, directory: directory)
        }
        let builder = builder(options)
        let summary = try builder.publish(try builder.read(blocks, of: source, since: old))
        try? merge(options)
        return summary
    }

    /// Returns whether the table of an image is provably current. An unchanged image counts as one with the same origins while
    /// they can't be found.
    /// - Parameter origins: Those of `origins(of:)` at some moment; nil for those of now.
    public func isCurrent(_ image: String, origins: [UInt64]? = nil) -> Bool {
        guard let name = try? ImageName.existing(image), let table = try? table(name) else { return false }
        return (try? isCurrent(table, origins)) ?? false
    }

    /// Whether a table is that of the image as it is now. Earlier releases made tables without origins.
    private func isCurrent(_ table: Table, _ origins: [UInt64]? = nil) throws -> Bool {
        let source = try NeighbourImage.source(table.name)
        guard try source.isUnchanged(since: table.header) else { return false }
        let wanted = origins ?? source.origins(blockSize: blockSize, findPlaces)
        return wanted == nil || wanted == table.geometry.origins
    }

    /// Removes an image from the index; the image need not exist any more.
    /// - Throws: `IndexError.notIndexed` if the index has no such image; `FileError`.
    public func remove(_ image: String) throws {
        let files = Set(ImageName.possible(image).map(IndexFileName.file(forNeighbour:)))
        let deleted = try place.withLock { try files.filter { try place.delete($0) } }
        if deleted.isEmpty { throw IndexError.notIndexed(image: image, directory: directory) }
        try? merge(BuildOptions(threads: 1))
    }

    /// Merges catalogues so that a lookup searches fewer of them, and lists tables that were in none. Returns at once
    /// if another process is merging.
    /// - Parameters:
    ///   - threads: Threads that read and sort; at least 1.
    ///   - intoOne: Whether to leave a single catalogue.
    /// - Throws: `FileError`; the index is then unchanged.
    public func merge(threads: Int, intoOne: Bool = false) throws {
        try merge(BuildOptions(threads: threads), intoOne: intoOne)
    }

    /// - Throws: also `CancellationError`, once the merge is not wanted; the index is then unchanged.
    private func merge(_ options: BuildOptions, intoOne: Bool = false) throws {
        try place.withMergeLock {
            let snapshot = try place.withLock {
                try IndexSnapshot.load(place, blockSize: blockSize, check: .resident)
            }
            let plan = snapshot.mergePlan(hasUncovered: !snapshot.uncovered.isEmpty, intoOne: intoOne)
            try perform(plan, on: snapshot, options)
        }
    }

    /// Reads and checks every byte of the index.
    /// - Returns: One line for each problem; none if all is well.
    /// - Throws: `IndexError` or `FileError` if the directory can't be used at all.
    public func verify() throws -> [String] {
        try NeighbourIndex.open(directory: directory, check: .everything).problems
    }

    /// Drops tables of images that were renamed. An image that was indexed under a new name, and is no longer at the
    /// old one, must not count as two neighbours.
    private func dropFormerNames() throws {
        let tables = try place.withLock { try IndexSnapshot.load(place, blockSize: blockSize, check: .resident).tables }
        let named = Dictionary(grouping: tables.filter { $0.header.identityDigest != nil }) {
            $0.header.identityDigest!
        }
        for twins in named.values where twins.count > 1 {
            // If another image is at the old name, that one's next refresh replaces the table. An image that can't be
            // seen for other reasons may exist on another host that shares the index.
            let gone = twins.filter { Self.hasLeft($0.name) }
            guard gone.count < twins.count else { continue }
            try place.withLock {
                for table in gone { _ = try place.delete(IndexFileName.file(forNeighbour: table.name)) }
            }
        }
    }

    /// Returns whether the file is gone, but its folder exists.
    private static func hasLeft(_ name: String) -> Bool {
        guard name.first == "/", access(name, F_OK) != 0, errno == ENOENT else { return false }
        return access((name as NSString).deletingLastPathComponent, F_OK) == 0
    }

    private func perform(_ plan: MergePlan, on snapshot: IndexSnapshot, _ options: BuildOptions) throws {
        let (members, replaced) = snapshot.merging(plan, with: snapshot.uncovered)
        let useless = snapshot.damaged + replaced
        guard !members.isEmpty else { return try place.publish([], deleting: useless) }
        // Tables beyond the limit wait for the next merge.
        let tables = members.prefix(CatalogueHeader.maximumTables).sorted().map { snapshot.tables[$0] }
        let file = try place.temporary(for: IndexFileName.newCatalogue())
        _ = try CatalogueBuilder(
            directory: place, blockSize: blockSize, sources: tables.map(\.fingerprints), threads: options.threads,
            isWanted: options.isWanted
        ).write(to: file, listing: tables.map(\.key))
        try place.publish([file], deleting: useless)
    }

    private func table(_ name: String) throws(TableFault) -> Table {
        try Table(
            path: place.path(of: IndexFileName.file(forNeighbour: name)), blockSize: blockSize, check: .resident)
    }

    private func currentDomain(_ name: String) -> String {
        (try? table(name).domain) ?? Neighbour.standardDomain
    }

    private func checked(_ domain: String) throws -> String {
        guard (1...TableHeader.maximumDomain).contains(domain.utf8.count), !domain.utf8.contains(0) else {
            throw IndexError.domain(domain)
        }
        return domain
    }
}
