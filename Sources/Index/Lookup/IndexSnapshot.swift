import Glibc

/// The tables and catalogues that stood in an index at one moment.
struct IndexSnapshot: Sendable {
    /// A catalogue and what of it counts.
    struct Part: Sendable {
        let file: String
        let catalogue: Catalogue
        /// For each of its tables the place in `tables`; nil where that is gone or written again since, or another
        /// catalogue tells of it.
        var members: [Int?]

        var live: [Int] { members.compactMap(\.self) }
    }

    private static let tries = 10

    /// By name.
    let tables: [Table]
    /// The largest first.
    let parts: [Part]
    /// Tables that no catalogue tells of.
    let uncovered: [Int]
    /// Catalogues that can't be used, and are no loss: the tables say the same.
    let damaged: [String]
    /// One line for each file that is skipped: which, why, and what to do.
    let problems: [String]

    /// Opens everything. Others may change the index meanwhile.
    /// - Throws: `FileError` where the directory can't be read.
    static func load(_ directory: IndexDirectory, blockSize: Int, check: TableCheck) throws -> IndexSnapshot {
        for _ in 1..<tries {
            let before = try published(directory)
            let snapshot = IndexSnapshot(directory, before, blockSize, check)
            // What was replaced between the two looks may be half of something.
            if try published(directory) == before { return snapshot }
        }
        return IndexSnapshot(directory, try published(directory), blockSize, check)
    }

    private static func published(_ directory: IndexDirectory) throws -> [String] {
        try directory.files().filter {
            $0.hasSuffix(IndexFileName.tableSuffix) || $0.hasSuffix(IndexFileName.catalogueSuffix)
        }
    }

    private init(_ directory: IndexDirectory, _ files: [String], _ blockSize: Int, _ check: TableCheck) {
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

    /// The same without the tables of other domains.
    func restricted(to domains: Set<String>) -> IndexSnapshot {
        IndexSnapshot(
            tables: tables.filter { domains.contains($0.domain) }, catalogues: parts.map { ($0.file, $0.catalogue) },
            damaged: damaged, problems: problems)
    }
}
