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

        var live: [Int] { members.compactMap(\.self) }
    }

    private static let tries = 10

    /// Sorted by name.
    let tables: [Table]
    /// Largest first.
    let parts: [Part]
    /// Positions of tables that no catalogue lists.
    let uncovered: [Int]
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
            tables: tables.sorted { $0.name < $1.name }, catalogues: catalogues, damaged: damaged, problems: problems)
    }

    private init(tables: [Table], catalogues: [(String, Catalogue)], damaged: [String], problems: [String]) {
        self.tables = tables
        self.damaged = damaged
        self.problems = problems
        var open = Dictionary(uniqueKeysWithValues: tables.enumerated().map { ($0.element.key, $0.offset) })
        let ordered = catalogues.sorted {
            ($0.1.tables.count, $0.1.header.entryCount, $0.0) > ($1.1.tables.count, $1.1.header.entryCount, $1.0)
        }
        parts = ordered.map { file, catalogue in
            Part(file: file, catalogue: catalogue, members: catalogue.tables.map { open.removeValue(forKey: $0) })
        }
        uncovered = open.values.sorted()
    }

    /// Returns a snapshot with only the tables of the given domains.
    func restricted(to domains: Set<String>) -> IndexSnapshot {
        IndexSnapshot(
            tables: tables.filter { domains.contains($0.domain) }, catalogues: parts.map { ($0.file, $0.catalogue) },
            damaged: damaged, problems: problems)
    }
}
