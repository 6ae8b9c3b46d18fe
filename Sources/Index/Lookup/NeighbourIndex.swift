import Block
import Hashing

/// An opened index: the tables that the directory held at that moment, whatever other processes change later.
///
/// Any number of threads may use it at once. It holds a mapping for each table and catalogue, and a descriptor for each
/// image that it has read. Beyond page cache it uses at most 1/16 byte of memory for each indexed block.
public final class NeighbourIndex: Sendable {
    /// Block size in bytes.
    public let blockSize: Int
    /// The neighbours, sorted by name; `Candidate.neighbour` is a position here.
    public let neighbours: [Neighbour]
    /// One line for each skipped file, and one for tables without a catalogue: which, why, and what to do.
    public let problems: [String]

    /// Number of catalogues that a lookup searches.
    public var catalogues: Int { snapshot.parts.count }
    /// Size of all catalogues in bytes.
    public var catalogueBytes: UInt64 { snapshot.parts.reduce(0) { $0 + $1.catalogue.file.size } }

    /// Fingerprints that are searched for together.
    private static let piece = 1 << 14

    let snapshot: IndexSnapshot
    private let images: [NeighbourImage]

    /// Opens an index.
    /// - Parameter check: How much of each file is verified first.
    /// - Throws: `IndexError` if the directory holds no usable index, `FileError` if it can't be read. A single
    ///   unusable file is skipped and named in `problems`.
    public static func open(directory: String, check: TableCheck = .resident) throws -> NeighbourIndex {
        let place = IndexDirectory(path: directory)
        guard let settings = try IndexSettings.read(from: place) else {
            throw IndexError.noIndex(directory: directory)
        }
        let snapshot = try IndexSnapshot.load(place, blockSize: settings.blockSize, check: check)
        var problems = snapshot.problems
        if !snapshot.uncovered.isEmpty {
            problems.append(
                "\(directory) has no catalogue of \(snapshot.uncovered.count) neighbours, which are not used: run "
                    + "`nearblock index refresh --index \(directory)`")
        }
        return NeighbourIndex(snapshot, settings.blockSize, problems)
    }

    /// Returns an index that finds blocks of other hosts' images too.
    /// - Parameter site: Nil, and tables with other blocks, leave the index as it is.
    package func joined(with site: SiteTables?) -> NeighbourIndex {
        guard let site, site.blockSize == blockSize else { return self }
        return NeighbourIndex(snapshot.joined(with: site), blockSize, problems + site.problems)
    }

    /// Returns an index of the images of a site alone. It finds blocks by samples, so runs of fewer than about sixteen
    /// blocks may be missed.
    package static func of(_ site: SiteTables) -> NeighbourIndex {
        NeighbourIndex(
            IndexSnapshot(tables: site.tables, catalogues: [], samples: site.samples, problems: []), site.blockSize,
            site.problems)
    }

    private init(_ snapshot: IndexSnapshot, _ blockSize: Int, _ problems: [String]) {
        self.snapshot = snapshot
        self.blockSize = blockSize
        self.problems = problems
        neighbours = snapshot.tables.map(Neighbour.init)
        images = snapshot.tables.map(NeighbourImage.init)
    }

    /// Returns the same index with only the neighbours of the given domains.
    public func restricted(to domains: Set<String>) -> NeighbourIndex {
        NeighbourIndex(snapshot.restricted(to: domains), blockSize, problems)
    }

    /// Finds a place for each fingerprint; nil if no neighbour has it, and always for `.zero`.
    ///
    /// Pass fingerprints of consecutive blocks, many at once: one lookup then finds a whole run in a neighbour. If
    /// several neighbours have a fingerprint, the answer prefers the one with most of the batch, which keeps reads
    /// sequential. A file that was damaged or truncated after opening gives misses, or candidates that `fetch` refuses.
    public func lookUp(_ fingerprints: [Fingerprint]) -> [Candidate?] {
        var lookup = Lookup(fingerprints, isByPrefix: false, in: snapshot)
        return counted(lookup.run(), of: fingerprints.count { $0 != .zero })
    }

    /// Finds places by the first halves of fingerprints, as `lookUp(_:)` does by whole ones; 0 is never found.
    public func lookUp(prefixes: [UInt64]) -> [Candidate?] {
        var lookup = Lookup(prefixes.map { Fingerprint(high: $0, low: 0) }, isByPrefix: true, in: snapshot)
        return counted(lookup.run(), of: prefixes.count { $0 != 0 })
    }

    private func counted(_ answers: [Candidate?], of fingerprints: Int) -> [Candidate?] {
        if isJoined {
            let found = answers.count { $0.map { neighbours[$0.neighbour].host != nil } ?? false }
            let here = answers.count { $0 != nil } - found
            SiteMetrics.countSearches(fingerprints - here, hits: found)
        }
        return LookupMetrics.counted(answers, of: fingerprints)
    }

    /// Returns every place of a fingerprint whose first half is known, for use after the first candidate failed. The
    /// result is empty for 0.
    public func candidates(prefix: UInt64) -> [Candidate] {
        guard prefix != 0 else { return [] }
        var candidates: [Candidate] = []
        findAll([Fingerprint(high: prefix, low: 0)], isByPrefix: true) {
            candidates.append(Candidate(neighbour: $0, block: $2))
        }
        return candidates
    }

    /// Prepares fetches: the kernel, or the other server, then reads the blocks in the order of the disk.
    /// - Parameter isUrgent: Whether a client waits for the blocks: another host then gives them before others.
    public func willFetch(_ candidates: [Candidate?], isUrgent: Bool = false) {
        let sorted = candidates.compactMap(\.self)
            .sorted { ($0.neighbour, $0.block) < ($1.neighbour, $1.block) }
        var run: (neighbour: Int, blocks: Range<UInt64>)?
        for candidate in sorted {
            if let last = run, last.neighbour == candidate.neighbour, candidate.block <= last.blocks.upperBound + 8 {
                run!.blocks = last.blocks.lowerBound..<max(last.blocks.upperBound, candidate.block + 1)
                continue
            }
            willRead(run, isUrgent)
            run = (candidate.neighbour, candidate.block..<candidate.block + 1)
        }
        willRead(run, isUrgent)
    }

    /// Whether images of other hosts are among the neighbours. Most of these are found only from blocks around.
    package var isJoined: Bool { snapshot.isJoined }

    /// Whether a candidate is on another host that can't be asked now. A further look-up finds others.
    package func isAway(_ candidate: Candidate) -> Bool {
        guard snapshot.tables.indices.contains(candidate.neighbour),
            let owner = snapshot.tables[candidate.neighbour].owner
        else { return false }
        return owner.reader.expectedWait == nil
    }

    /// Reads a candidate's block and hashes it now.
    /// - Parameters:
    ///   - buffer: `blockSize` bytes; holds the block only if the result is true. A short last block is padded with zeros.
    ///   - isUrgent: Whether a client waits for the block: another host then gives it before others.
    /// - Returns: Whether the bytes have the expected fingerprint. False also if the image is gone, shorter or
    ///   unreadable: a changed neighbour is a miss, never an error.
    public func fetch(
        _ candidate: Candidate, expecting fingerprint: Fingerprint,
        into buffer: UnsafeMutableRawBufferPointer,
        hasher: BlockHasher, isUrgent: Bool = false
    ) -> Bool {
        fetch(candidate, prefix: fingerprint.high, into: buffer, hasher: hasher, isUrgent: isUrgent) == fingerprint
    }

    /// Reads a candidate's block and hashes it now, when only the first half of the fingerprint is known.
    /// - Returns: The whole fingerprint; nil if the bytes have another first half, or can't be read.
    public func fetch(
        _ candidate: Candidate, prefix: UInt64, into buffer: UnsafeMutableRawBufferPointer, hasher: BlockHasher,
        isUrgent: Bool = false
    ) -> Fingerprint? {
        precondition(buffer.count == blockSize, "the buffer holds one block")
        guard neighbours.indices.contains(candidate.neighbour),
            candidate.block < neighbours[candidate.neighbour].blocks
        else { return nil }
        let bytes = snapshot.tables[candidate.neighbour].geometry.diskBytes(of: candidate.block..<candidate.block + 1)
        let count = bytes.count
        for place in count..<blockSize { buffer[place] = 0 }
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        if images[candidate.neighbour].read(into: part, at: bytes.lowerBound, isUrgent: isUrgent) {
            let fingerprint = hasher.fingerprint(UnsafeRawBufferPointer(buffer))
            if fingerprint.high == prefix { return fingerprint }
            images[candidate.neighbour].hasOtherBytes(at: bytes.lowerBound)
        }
        images[candidate.neighbour].forget()
        LookupMetrics.stale.increment()
        if neighbours[candidate.neighbour].host != nil { SiteMetrics.countStale() }
        return nil
    }

    /// Calls `found` for each neighbour that has a fingerprint of the batch, with its position in the batch and the
    /// block.
    /// - Parameters:
    ///   - batch: Must not contain `.zero`; ascending is fastest.
    ///   - isByPrefix: Whether only the first halves are known.
    func findAll(
        _ batch: [Fingerprint], isByPrefix: Bool = false,
        found: (_ neighbour: Int, _ place: Int, _ block: UInt64) -> Void
    ) {
        for part in snapshot.parts where !part.isSampled || batch.contains(where: { Sampling.isSample($0.high) }) {
            let search = CatalogueSearch(part.catalogue)
            for start in stride(from: 0, to: batch.count, by: Self.piece) {
                let highs = batch[start..<min(start + Self.piece, batch.count)].map(\.high)
                var matches: [EntryMatch] = []
                search.run(highs) { place, member, block in
                    guard member < part.members.count, let table = part.members[member] else { return }
                    matches.append(EntryMatch(place: start + place, table: table, block: block))
                }
                EntryMatch.confirm(
                    matches, in: snapshot.tables, { $1.matches(batch[$0], isByPrefix: isByPrefix) }
                ) {
                    found(matches[$0].table, matches[$0].place, matches[$0].block)
                }
            }
        }
    }

    private func willRead(_ run: (neighbour: Int, blocks: Range<UInt64>)?, _ isUrgent: Bool) {
        guard let run, neighbours.indices.contains(run.neighbour) else { return }
        // A read of one block here costs no more later; one of another host takes a round trip.
        guard run.blocks.count > 1 || neighbours[run.neighbour].host != nil else { return }
        images[run.neighbour].willRead(
            snapshot.tables[run.neighbour].geometry.diskBytes(of: run.blocks), isUrgent: isUrgent)
    }
}
