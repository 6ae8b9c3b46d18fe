import Block

/// The tables of other hosts and the catalogues of their samples, as a site's store held them at one moment.
///
/// Any thread may use it. It holds a mapping for each file. Beyond page cache it uses at most 1/16 byte of memory for
/// each sample.
package final class SiteTables: Sendable {
    /// Block size in bytes.
    package let blockSize: Int
    /// One line for each skipped file: which, why, and what to do.
    package let problems: [String]
    /// Sorted by host, then by name.
    let tables: [Table]
    /// With their files.
    let samples: [(String, Catalogue)]
    private let hosts: [RemoteTables]
    private let samplesFolder: any SiteFolder
    /// Files of catalogues of samples that are broken.
    let damagedSamples: [String]
    /// Versions of catalogues of samples of which a store has answered that it lacks bytes.
    private let incompleteSamples: Set<String>
    let champions: ChampionTables
    /// Whether every file could be opened. Otherwise a catalogue may list tables that are there, and that this host does
    /// not see.
    let isComplete: Bool

    /// Files that could not be opened.
    private struct Faults {
        var lines: [String] = []
        var damaged: [String] = []
        var hasSkipped = false

        mutating func add(_ line: String) {
            hasSkipped = true
            if lines.count < SiteTables.mostProblems { lines.append(line) }
        }
    }

    /// Files of one directory that are opened, and lines about those that can't be: a host may publish anything.
    private static let (mostFiles, mostProblems) = (4096, 100)

    /// The images of all hosts.
    package var neighbours: [Neighbour] { tables.map(Neighbour.init) }
    /// Number of the catalogues of samples.
    package var catalogues: Int { samples.count }
    /// Size of the catalogues of samples in bytes.
    package var sampleBytes: UInt64 { samples.reduce(0) { $0 + $1.1.file.size } }
    /// Number of samples in them.
    package var sampleCount: UInt64 { samples.reduce(0) { $0 &+ $1.1.header.entryCount } }
    /// Number of tables whose samples are in no catalogue yet.
    package var uncovered: Int {
        IndexSnapshot(tables: tables, catalogues: [], samples: samples, problems: []).uncovered.count
    }

    /// Opens what the store holds now. Files that have not changed are taken from an earlier object. Blocks the thread.
    /// - Parameters:
    ///   - hosts: Each once. A folder that can't be read is a problem, not an error.
    ///   - samples: The folder with the catalogues of samples.
    ///   - check: How much of each newly opened file is verified.
    ///   - scratch: Path of a directory of this host, for catalogues of the tables that are most used; nil for none.
    package init(
        hosts: [RemoteTables], samples: any SiteFolder, blockSize: Int, check: TableCheck = .resident,
        scratch: String? = nil,
        after earlier: SiteTables? = nil
    ) {
        self.blockSize = blockSize
        self.hosts = hosts
        samplesFolder = samples
        champions = earlier?.champions ?? ChampionTables(scratch: scratch)
        var faults = Faults()
        // Before the tables: those that a catalogue lists were published before it.
        let old = Dictionary((earlier?.samples ?? []).map { ($0.1.file.path, $0.1) }) { first, _ in first }
        var (incomplete, listed) = (earlier?.incompleteSamples ?? [], Set<String>())
        self.samples = Self.open(in: samples, IndexFileName.catalogueSuffix, &faults) {
            entry throws(TableFault) in
            let version = entry.stored?.version
            if let version { listed.insert(version) }
            if let known = old["\(samples.path)/\(entry.name)"], known.file.isSame(as: entry) {
                if known.file.checkStored() { return known }
                if let version { incomplete.insert(version) }
            }
            // The part that is read at the opening may be there.
            if let version, incomplete.contains(version) { throw .truncated }
            return try Catalogue(
                IndexFile(entry, in: samples.path), blockSize: blockSize, check: check, isForeign: true)
        }
        damagedSamples = faults.damaged
        incompleteSamples = incomplete.intersection(listed)
        let known = Dictionary((earlier?.tables ?? []).map { ($0.file.path, $0) }) { first, _ in first }
        var tables: [Table] = []
        for host in hosts.sorted(by: { $0.host < $1.host }) {
            let opened = Self.open(in: host.folder, IndexFileName.tableSuffix, &faults) {
                entry throws(TableFault) in
                if let table = known["\(host.folder.path)/\(entry.name)"], table.owner?.isSame(as: host) == true,
                    table.file.isSame(as: entry)
                {
                    return table
                }
                return try Table(
                    IndexFile(entry, in: host.folder.path), blockSize: blockSize, check: check, owner: host)
            }
            tables += opened.map(\.1).sorted { $0.name < $1.name }
        }
        self.tables = tables
        problems = faults.lines
        isComplete = !faults.hasSkipped
    }

    private init(_ tables: [Table], of site: SiteTables) {
        blockSize = site.blockSize
        hosts = site.hosts
        samplesFolder = site.samplesFolder
        problems = site.problems
        samples = site.samples
        damagedSamples = site.damagedSamples
        incompleteSamples = site.incompleteSamples
        isComplete = site.isComplete
        champions = site.champions
        self.tables = tables
    }

    /// Returns what the store holds now of the same hosts. Blocks the thread.
    package func refreshed() -> SiteTables {
        SiteTables(hosts: hosts, samples: samplesFolder, blockSize: blockSize, after: self)
    }

    /// Returns the same with only the tables of the given hosts.
    package func only(of hosts: Set<String>) -> SiteTables {
        SiteTables(tables.filter { hosts.contains($0.owner?.host ?? "") }, of: self)
    }

    private static func open<File>(
        in folder: any SiteFolder, _ suffix: String, _ faults: inout Faults,
        _ body: (SiteFolderEntry) throws(TableFault) -> File
    ) -> [(String, File)] {
        var entries: [SiteFolderEntry]
        do { entries = try folder.entries().filter { $0.name.hasSuffix(suffix) } } catch {
            faults.add("\(error): its images are no neighbours until it can be read")
            return []
        }
        if entries.count > mostFiles {
            faults.add("\(folder.path) has \(entries.count) files, of which \(mostFiles) are used")
            entries = Array(entries.prefix(mostFiles))
        }
        return entries.compactMap { entry in
            do throws(TableFault) { return (entry.name, try body(entry)) } catch {
                guard error != .gone else {
                    faults.hasSkipped = true
                    return nil
                }
                if error.isDamage { faults.damaged.append(entry.name) }
                faults.add("\(folder.path)/\(entry.name) \(error.explanation(remedy: "its host publishes it again"))")
                return nil
            }
        }
    }
}

extension RemoteTables {
    fileprivate func isSame(as other: RemoteTables) -> Bool {
        host == other.host && folder.path == other.folder.path && reader === other.reader
    }
}
