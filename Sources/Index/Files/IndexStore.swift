import Block
import BlockModel
import Foundation

/// Changes an index: adds, replaces and removes the tables of neighbours.
///
/// Any number of processes may do so at once, and others may have the index open: tables appear and vanish whole. A
/// process that is killed leaves the index as it was; what it was writing is deleted by the next `add`.
public struct IndexStore: Sendable {
    /// As the user named it.
    public let directory: String
    /// Bytes a block.
    public let blockSize: Int

    private var place: IndexDirectory { IndexDirectory(path: directory) }

    /// Opens the index in `directory`, or makes one there.
    /// - Parameter blockSize: A power of two from 512 to 65536; nil for the index's own, or 4096 for a new one.
    /// - Throws: `IndexError` where the block size is no such, or the index is there and has another, or is damaged;
    ///   `FileError`.
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

    /// Whether a directory holds an index.
    /// - Throws: `IndexError` where it is damaged or too new, `FileError` where it can't be read.
    public static func exists(in directory: String) throws -> Bool {
        try IndexSettings.read(from: IndexDirectory(path: directory)) != nil
    }

    /// Indexes an image, in place of what was known of it before.
    /// - Parameters:
    ///   - image: a path, or an NBD URI.
    ///   - domain: 1 to 255 bytes; nil for the one it has, or `Neighbour.standardDomain`.
    ///   - progress: Told now and then, on any thread, how far the reading is.
    /// - Throws: `FileError`, `NBDClientError` or `IndexError`; the index is then as it was.
    public func add(
        _ image: String, domain: String? = nil, options: BuildOptions,
        progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary {
        let builder = builder(options)
        let summary = try builder.publish(try read(image, domain, builder, options, progress))
        try? dropFormerNames()
        // What is found is the same without; the next change tries again.
        try? merge(threads: options.threads)
        return summary
    }

    /// Indexes images, as `add` of one does, and reads each while the one before it is made durable.
    /// - Parameters:
    ///   - begins: Called for each; returns who is told of the progress.
    ///   - ends: Called for each, in order, on any thread.
    /// - Throws: as `add` of one; images before the one that failed are indexed.
    public func add(
        _ images: [String], domain: String? = nil, options: BuildOptions,
        begins: (String) -> (@Sendable (BuildProgress) -> Void)?, ends: @escaping @Sendable (TableSummary) -> Void
    ) throws {
        let builder = builder(options)
        defer {
            try? dropFormerNames()
            try? merge(threads: options.threads)
        }
        var earlier: Aside<Void>?
        for image in images {
            let draft: TableBuilder.Draft
            do { draft = try read(image, domain, builder, options, begins(image)) } catch {
                try earlier?.wait()
                throw error
            }
            try earlier?.wait()
            earlier = Aside { ends(try builder.publish(draft)) }
        }
        try earlier?.wait()
    }

    private func read(
        _ image: String, _ domain: String?, _ builder: TableBuilder, _ options: BuildOptions,
        _ progress: (@Sendable (BuildProgress) -> Void)?
    ) throws -> TableBuilder.Draft {
        let name = try ImageName.existing(image)
        let source = try NeighbourImage.source(name)
        let domain = try checked(domain ?? currentDomain(name))
        let blocks = TableHeader.blockCount(source.size, blockSize)
        guard blocks <= TableHeader.maximumBlocks else { throw IndexError.tooManyBlocks(image: image, blocks: blocks) }
        return try builder.read(name, domain, source, options, progress)
    }

    private func builder(_ options: BuildOptions) -> TableBuilder {
        TableBuilder(directory: place, blockSize: blockSize, threads: options.threads)
    }

    /// Indexes an image again if it has changed since, or if that can't be told, as with block devices and NBD URIs.
    /// - Returns: Nil where the table is current.
    /// - Throws: As `add`; `IndexError.notIndexed` where the image was never added.
    public func refresh(
        _ image: String, options: BuildOptions, progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary? {
        let name = try ImageName.existing(image)
        do throws(TableFault) {
            let header = try table(name).header
            if (try? NeighbourImage.source(name).isUnchanged(since: header)) == true { return nil }
        } catch {
            // A table that can't be used is one more reason to write it again; one that never was is not.
            if error == .gone { throw IndexError.notIndexed(image: image, directory: directory) }
        }
        return try add(image, options: options, progress: progress)
    }

    /// Indexes an image again of which it is known what has changed: only that is read.
    /// - Parameter blocks: Block numbers of this index, at least all that have changed since the image was indexed.
    /// - Throws: As `add`; `IndexError.notIndexed` where there is no table that could be brought up to date.
    public func update(_ image: String, blocks: [UInt64], options: BuildOptions) throws -> TableSummary {
        let name = try ImageName.existing(image)
        let source = try NeighbourImage.source(name)
        guard let old = try? table(name), old.header.imageSize == source.size,
            // Another image at the same path shares nothing with what is known.
            try source.isImage(of: old.header) != false
        else {
            throw IndexError.notIndexed(image: image, directory: directory)
        }
        let builder = builder(options)
        let summary = try builder.publish(try builder.read(blocks, of: source, since: old))
        try? merge(threads: options.threads)
        return summary
    }

    /// Whether an image is in the index as it is now, as far as that can be told.
    public func isCurrent(_ image: String) -> Bool {
        guard let name = try? ImageName.existing(image), let header = try? table(name).header else { return false }
        return (try? NeighbourImage.source(name).isUnchanged(since: header)) ?? false
    }

    /// Takes an image out of the index; it need not exist any more.
    /// - Throws: `IndexError.notIndexed` where it is not in it; `FileError`.
    public func remove(_ image: String) throws {
        let files = Set(ImageName.possible(image).map(IndexFileName.file(forNeighbour:)))
        let deleted = try place.withLock { try files.filter { try place.delete($0) } }
        if deleted.isEmpty { throw IndexError.notIndexed(image: image, directory: directory) }
        try? merge(threads: 1)
    }

    /// Brings what look-ups go through into order: tables that nothing tells of are found again, and a look-up has to ask
    /// in fewer places.
    /// - Parameter intoOne: whether to leave one place only.
    /// - Throws: `FileError`; the index is then as it was.
    public func merge(threads: Int, intoOne: Bool = false) throws {
        try place.withMergeLock {
            let snapshot = try place.withLock {
                try IndexSnapshot.load(place, blockSize: blockSize, check: .resident)
            }
            let plan = MergePlan(
                snapshot.parts.map { $0.candidate(among: snapshot.tables) }, hasUncovered: !snapshot.uncovered.isEmpty,
                intoOne: intoOne)
            try perform(plan, on: snapshot, threads)
        }
    }

    /// Reads every table and checks all of it.
    /// - Returns: One line for each that can't be used; none where all is well.
    /// - Throws: `IndexError` or `FileError` where the directory can't be used at all.
    public func verify() throws -> [String] {
        try NeighbourIndex.open(directory: directory, check: .everything).problems
    }

    /// Drops the tables of images that have got another name: an image that was indexed under a new one, and that is not at
    /// the old one any more, is not two neighbours.
    private func dropFormerNames() throws {
        let tables = try place.withLock { try IndexSnapshot.load(place, blockSize: blockSize, check: .resident).tables }
        let named = Dictionary(grouping: tables.filter { $0.header.identityDigest != nil }) {
            $0.header.identityDigest!
        }
        for twins in named.values where twins.count > 1 {
            // Where another image stands at the old name, that one's next refresh replaces the table. An index may serve several
            // hosts: what can't be seen from here for any other reason may be there for another.
            let gone = twins.filter { Self.hasLeft($0.name) }
            guard gone.count < twins.count else { continue }
            try place.withLock {
                for table in gone { _ = try place.delete(IndexFileName.file(forNeighbour: table.name)) }
            }
        }
    }

    /// Whether an image was taken from a folder that is there.
    private static func hasLeft(_ name: String) -> Bool {
        guard name.first == "/", access(name, F_OK) != 0, errno == ENOENT else { return false }
        return access((name as NSString).deletingLastPathComponent, F_OK) == 0
    }

    private func perform(_ plan: MergePlan, on snapshot: IndexSnapshot, _ threads: Int) throws {
        var useless = snapshot.damaged + plan.useless.map { snapshot.parts[$0].file }
        var members = snapshot.uncovered
        for place in plan.merged.sorted(by: { snapshot.parts[$0].live.count < snapshot.parts[$1].live.count }) {
            let more = members + snapshot.parts[place].live
            let most = more.map { snapshot.tables[$0].header.blockCount }.max()!
            guard CatalogueHeader.fits(tables: more.count, maximumBlocks: most) else { continue }
            members = more
            useless.append(snapshot.parts[place].file)
        }
        guard !members.isEmpty else { return try place.publish([], deleting: useless) }
        // More than fit are left for the next time.
        members = Array(members.prefix(CatalogueHeader.maximumTables))
        let file = try place.temporary(for: IndexFileName.newCatalogue())
        _ = try CatalogueBuilder(
            directory: place, blockSize: blockSize, members: members.sorted().map { .init(snapshot.tables[$0]) },
            threads: threads
        ).write(to: file)
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

extension IndexSnapshot.Part {
    fileprivate func candidate(among tables: [Table]) -> MergePlan.Candidate {
        let live = live
        return MergePlan.Candidate(
            entries: live.reduce(0) { $0 + tables[$1].header.distinct }, live: live.count, tables: members.count)
    }
}
