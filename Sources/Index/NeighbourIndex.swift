import Block

/// An opened index: the tables that stood in the directory at that moment, whatever others do to it later.
///
/// Any number of threads may use it at once. It holds a descriptor for each table and for each image it has
/// read from, and 1/16 byte of memory for each indexed block.
public final class NeighbourIndex: Sendable {
    /// Bytes a block.
    public let blockSize: Int
    /// The neighbours, by name.
    public let neighbours: [Neighbour]
    /// One line for each table that is skipped: which, why, and what to do.
    public let problems: [String]

    private let tables: [Table]
    private let images: [NeighbourImage]

    /// Opens an index.
    /// - Parameter check: How much of each table is verified first.
    /// - Throws: `IndexError` where the directory holds no index that can be used, `FileError` where it can't
    ///   be read. A table that can't be used is only named in `problems`.
    public static func open(directory: String, check: TableCheck = .resident) throws -> NeighbourIndex {
        let directory = IndexDirectory(path: directory)
        guard let settings = try IndexSettings.read(from: directory) else {
            throw IndexError.noIndex(directory: directory.path)
        }
        return try NeighbourIndex(directory, settings.blockSize, check)
    }

    private init(_ directory: IndexDirectory, _ blockSize: Int, _ check: TableCheck) throws {
        var tables: [Table] = []
        var problems: [String] = []
        for file in try directory.tables() {
            let path = directory.path(of: file)
            do throws(TableFault) {
                tables.append(try Table(path: path, blockSize: blockSize, check: check))
            } catch {
                if error != .gone { problems.append("\(path) \(error.explanation)") }
            }
        }
        tables.sort { $0.name < $1.name }
        self.blockSize = blockSize
        self.tables = tables
        self.problems = problems
        neighbours = tables.map { Neighbour(name: $0.name, header: $0.header, tableFile: $0.file.path) }
        images = tables.map { NeighbourImage(path: $0.name) }
    }

    /// A place for each fingerprint, nil where no neighbour has it; `.zero` is never found.
    ///
    /// A whole batch costs far less than its fingerprints one by one, the larger the less. A table that has
    /// been damaged or cut short since it was opened gives misses, or candidates that `fetch` refuses.
    public func lookUp(_ fingerprints: [Fingerprint]) -> [Candidate?] {
        var candidates = [Candidate?](repeating: nil, count: fingerprints.count)
        var open = fingerprints.enumerated()
            .filter { $0.element != .zero }
            .map { TableEntry(fingerprint: $0.element, number: UInt64($0.offset)) }
        open.sort()
        for (neighbour, table) in tables.enumerated() where !open.isEmpty {
            var search = TableSearch(table)
            search.run(open.map(\.fingerprint)) { place, block in
                candidates[Int(open[place].number)] = Candidate(neighbour: neighbour, block: block)
            }
            open.removeAll { candidates[Int($0.number)] != nil }
        }
        return candidates
    }

    /// Every neighbour's place for one fingerprint, for when the first one has failed.
    public func candidates(for fingerprint: Fingerprint) -> [Candidate] {
        guard fingerprint != .zero else { return [] }
        var candidates: [Candidate] = []
        for (neighbour, table) in tables.enumerated() {
            var search = TableSearch(table)
            search.run([fingerprint]) { candidates.append(Candidate(neighbour: neighbour, block: $1)) }
        }
        return candidates
    }

    /// Reads a candidate's block and hashes it, both now.
    /// - Parameter buffer: `blockSize` bytes; holds the block only where the answer is true. A short tail
    ///   block is filled up with zeros.
    /// - Returns: Whether the bytes have the expected fingerprint. False too where the image is gone, has
    ///   become shorter or can't be read: a neighbour that changes is a miss and never an error.
    public func fetch(
        _ candidate: Candidate, expecting fingerprint: Fingerprint,
        into buffer: UnsafeMutableRawBufferPointer,
        hasher: BlockHasher
    ) -> Bool {
        precondition(buffer.count == blockSize, "the buffer holds one block")
        guard tables.indices.contains(candidate.neighbour),
            candidate.block < neighbours[candidate.neighbour].blocks,
            let image = images[candidate.neighbour].current()
        else { return false }
        let offset = candidate.block * UInt64(blockSize)
        let count = Int(min(UInt64(blockSize), neighbours[candidate.neighbour].size - offset))
        for place in count..<blockSize { buffer[place] = 0 }
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        if (try? image.read(into: part, at: offset)) != nil,
            hasher.fingerprint(UnsafeRawBufferPointer(buffer)) == fingerprint
        {
            return true
        }
        images[candidate.neighbour].forget(image)
        return false
    }

    /// Calls `found` with the neighbour and the place in the batch for each that is in its table.
    /// - Parameter batch: Ascending, without `.zero`.
    func findAll(_ batch: [Fingerprint], found: (_ neighbour: Int, _ place: Int) -> Void) {
        for (neighbour, table) in tables.enumerated() {
            var search = TableSearch(table)
            search.run(batch) { place, _ in found(neighbour, place) }
        }
    }
}
