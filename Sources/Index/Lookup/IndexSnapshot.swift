import Glibc

/// The tables and catalogues that an index held at one moment.
struct IndexSnapshot: Sendable {
    /// A catalogue, and which of its tables are current.
    struct Part: Sendable {
        let file: String
        let catalogue: Catalogue
        /// For each table of the catalogue its position in `tables`. Nil if the table is gone or was rewritten, or if a
        /// larger catalogue lists it.
        var members: [Int?]
        /// Whether the catalogue lists samples only (`Sampling`).
        let isSampled: Bool

        var live: [Int] { members.compactMap(\.self) }
    }

    private static let tries = 10

    /// Whether tables of other hosts are among them.
    var isJoined: Bool { tables.last?.owner != nil }
    /// Sorted by name; those of this host come before those of others.
    let tables: [Table]
    /// Largest first; those of samples last.
    let parts: [Part]
    /// Positions of tables that no catalogue lists.
    let uncovered: [Int]
    /// The tables of other hosts that are most used; nil without a site.
    let champions: ChampionTables?
    /// Files of damaged catalogues. Deleting them loses nothing: catalogues are derived from tables.
    let damaged: [String]
    /// One line for each skipped file: which, why, and what to do.
    let problems: [String]

    /// Opens all files. Other processes may change the index meanwhile.
    /// - Throws: `FileError` where the directory can't be read.
    static func load(_ directory: IndexDirectory, blockSize: Int, check: TableCheck) throws -> IndexSnapshot {
        for _ in 1..<tries {
            let before = try published(directory)
            let snapshot = IndexSnapshot(of: before, in: directory, blockSize: blockSize, check: check)
            // If files changed meanwhile, some that were read may not belong together; try again.
            if try published(directory) == before { return snapshot }
        }
        return IndexSnapshot(of: try published(directory), in: directory, blockSize: blockSize, check: check)
    }

    private static func published(_ directory: IndexDirectory) throws -> [String] {
        try directory.files().filter {
            $0.hasSuffix(IndexFileName.tableSuffix) || $0.hasSuffix(IndexFileName.catalogueSuffix)
        }
    }

    private init(of files: [String], in directory: IndexDirectory, blockSize: Int, check: TableCheck) {
        var tables: [Table] = []
        var catalogues: [(String, Catalogue)] = []
        var problems: [String] = []
        var damaged: [String] = []
        for file in files {
            let path = directory.path(of: file)
            let isTable = file.hasSuffix(IndexFileName.tableSuffix)
            do throws(TableFault) {
                if isTable {
                    tables.append(try Table(path: path, blockSize: blockSize, check: check))
                } else {
                    catalogues.append((file, try Catalogue(path: path, blockSize: blockSize, check: check)))
                }
            } catch {
                if error == .gone { continue }
                if !isTable, error.isDamage { damaged.append(file) }
                let remedy = isTable ? "add its image again" : "run `nearblock index refresh --index \(directory.path)`"
                problems.append("\(path) \(error.explanation(remedy: remedy))")
            }
        }
        self.init(
            tables: tables.sorted { $0.name < $1.name }, catalogues: catalogues, samples: [], damaged: damaged,
            problems: problems)
    }

    /// - Parameters:
    ///   - tables: Of several equal ones the first counts.
    ///   - catalogues: Those of whole tables, with their files.
    ///   - samples: Those of samples, with their files.
    init(
        tables: [Table], catalogues: [(String, Catalogue)], samples: [(String, Catalogue)],
        champions: ChampionTables? = nil, damaged: [String] = [], problems: [String]
    ) {
        self.tables = tables
        self.champions = champions
        self.damaged = damaged
        self.problems = problems
        var open = Dictionary(tables.enumerated().map { ($0.element.key, $0.offset) }) { first, _ in first }
        func parts(_ catalogues: [(String, Catalogue)], isSampled: Bool) -> [Part] {
            catalogues.sorted {
                ($0.1.tables.count, $0.1.header.entryCount, $0.0) > ($1.1.tables.count, $1.1.header.entryCount, $1.0)
            }.map { file, catalogue in
                Part(
                    file: file, catalogue: catalogue, members: catalogue.tables.map { open.removeValue(forKey: $0) },
                    isSampled: isSampled)
            }
        }
        self.parts = parts(catalogues, isSampled: false) + parts(samples, isSampled: true)
        uncovered = open.values.sorted()
    }

    /// Returns a snapshot with only the tables of the given domains.
    func restricted(to domains: Set<String>) -> IndexSnapshot {
        func files(isSampled: Bool) -> [(String, Catalogue)] {
            parts.filter { $0.isSampled == isSampled }.map { ($0.file, $0.catalogue) }
        }
        return IndexSnapshot(
            tables: tables.filter { domains.contains($0.domain) }, catalogues: files(isSampled: false),
            samples: files(isSampled: true), champions: champions, damaged: damaged, problems: problems)
    }

    /// Returns a snapshot that has the tables of other hosts too.
    func joined(with site: SiteTables) -> IndexSnapshot {
        IndexSnapshot(
            tables: tables + site.tables, catalogues: parts.map { ($0.file, $0.catalogue) }, samples: site.samples,
            champions: site.champions, damaged: damaged, problems: problems)
    }
}
