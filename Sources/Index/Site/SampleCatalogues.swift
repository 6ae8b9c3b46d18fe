import Block

/// Makes the catalogues of samples of a site's tables.
///
/// A catalogue never changes and names each table's generation, so two hosts that make catalogues at once cost space and
/// nothing else.
package struct SampleCatalogues: Sendable {
    /// Catalogues that replace others.
    package struct Change: Sendable {
        /// Path of the new catalogue, in the scratch directory; nil if none is needed.
        package let file: String?
        /// Names in the store's directory of the catalogues that it replaces.
        package let replaced: [String]
    }

    private let scratch: IndexDirectory
    private let threads: Int

    /// - Parameters:
    ///   - scratch: Path of a directory of this host, for the new catalogue and for sorting.
    ///   - threads: Threads that read and sort; at least 1.
    package init(scratch: String, threads: Int) {
        self.scratch = IndexDirectory(path: scratch)
        self.threads = threads
    }

    /// Makes a catalogue of the tables that none lists, and merges small catalogues, as an index does. Blocks for as long
    /// as that takes.
    /// - Parameters:
    ///   - site: The tables of all hosts, this one's too.
    ///   - isMerging: Whether catalogues are merged; otherwise only tables that none lists get one.
    ///   - owner: Lists only tables of this host; nil for those of all.
    ///   - isWanted: Asked now and then, on any thread, whether to go on.
    /// - Throws: `FileError`; `CancellationError` once `isWanted` returns false. Nothing has changed then.
    package func update(
        _ site: SiteTables, isMerging: Bool, owner: String?, isWanted: @escaping @Sendable () -> Bool = { true }
    ) throws -> Change {
        let snapshot = IndexSnapshot(tables: site.tables, catalogues: [], samples: site.samples, problems: [])
        var members = snapshot.uncovered.filter { owner == nil || site.tables[$0].owner?.host == owner }
        var replaced = isMerging ? site.damagedSamples : []
        // Tables that this host can't see may be in a catalogue that looks useless to it.
        if isMerging, site.isComplete {
            let plan = snapshot.mergePlan(hasUncovered: !members.isEmpty)
            let merged = snapshot.merging(plan, with: members)
            members = merged.members
            replaced += merged.replaced
        }
        guard !members.isEmpty else { return Change(file: nil, replaced: replaced) }
        let tables = members.prefix(CatalogueHeader.maximumTables).sorted().map { site.tables[$0] }
        return Change(file: try write(tables, site.blockSize, isWanted), replaced: replaced)
    }

    private func write(
        _ tables: [Table], _ blockSize: Int, _ isWanted: @escaping @Sendable () -> Bool
    ) throws -> String {
        let name = IndexFileName.newCatalogue()
        let file = try scratch.temporary(for: name)
        _ = try CatalogueBuilder(
            directory: scratch, blockSize: blockSize, sources: tables.map(\.fingerprints), threads: threads,
            isSampled: true, isWanted: isWanted
        ).write(to: file, listing: tables.map(\.key))
        try scratch.publish([file])
        return scratch.path(of: name)
    }
}
