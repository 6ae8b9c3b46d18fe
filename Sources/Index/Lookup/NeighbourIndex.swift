import Block
import Hashing

/// An opened index: the tables that stood in the directory at that moment, whatever others do to it later.
///
/// Any number of threads may use it at once. It holds a mapping for each table and catalogue, and a descriptor for
/// each image it has read from; of memory at most 1/16 byte for each indexed block, beyond page cache.
public final class NeighbourIndex: Sendable {
    /// Bytes a block.
    public let blockSize: Int
    /// The neighbours, by name.
    public let neighbours: [Neighbour]
    /// One line for each file that is skipped, and for neighbours that can't be found: which, why, and what to do.
    public let problems: [String]

    /// How many catalogues a look-up has to ask.
    public var catalogues: Int { snapshot.parts.count }
    /// What they take on the disk.
    public var catalogueBytes: UInt64 { snapshot.parts.reduce(0) { $0 + $1.catalogue.file.size } }

    /// Fingerprints whose every place is looked for together.
    private static let piece = 1 << 14

    let snapshot: IndexSnapshot
    private let images: [NeighbourImage]

    /// Opens an index.
    /// - Parameter check: How much of each file is verified first.
    /// - Throws: `IndexError` where the directory holds no index that can be used, `FileError` where it can't be read. A
    ///   file that can't be used is only named in `problems`.
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

    private init(_ snapshot: IndexSnapshot, _ blockSize: Int, _ problems: [String]) {
        self.snapshot = snapshot
        self.blockSize = blockSize
        self.problems = problems
        neighbours = snapshot.tables.map(Neighbour.init)
        images = snapshot.tables.map { NeighbourImage(name: $0.name) }
    }

    /// The same index without the neighbours of other domains.
    public func restricted(to domains: Set<String>) -> NeighbourIndex {
        NeighbourIndex(snapshot.restricted(to: domains), blockSize, problems)
    }

    /// A place for each fingerprint, nil where no neighbour has it; `.zero` is never found.
    ///
    /// Meant for fingerprints of consecutive blocks, many at once: where a neighbour has a run of them, one look-up finds
    /// all. Where several neighbours have one, the answer is the one that has most of the others too, so that reading what
    /// was found jumps about little. A file that has been damaged or cut short since it was opened gives misses, or
    /// candidates that `fetch` refuses.
    public func lookUp(_ fingerprints: [Fingerprint]) -> [Candidate?] {
        var lookUp = LookUp(fingerprints, isByPrefix: false, in: snapshot)
        return lookUp.run()
    }

    /// As `lookUp`, where only the first halves of the fingerprints are known; 0 is never found.
    public func lookUp(prefixes: [UInt64]) -> [Candidate?] {
        var lookUp = LookUp(prefixes.map { Fingerprint(high: $0, low: 0) }, isByPrefix: true, in: snapshot)
        return lookUp.run()
    }

    /// Every neighbour's place for a fingerprint of which the first half is known, for when the first one has failed; there
    /// are none for 0.
    public func candidates(prefix: UInt64) -> [Candidate] {
        guard prefix != 0 else { return [] }
        var candidates: [Candidate] = []
        findAll([Fingerprint(high: prefix, low: 0)], isByPrefix: true) {
            candidates.append(Candidate(neighbour: $0, block: $2))
        }
        return candidates
    }

    /// Tells the kernel that these blocks are about to be fetched, so that it reads them in the order of the disk.
    public func willFetch(_ candidates: [Candidate?]) {
        let sorted = candidates.compactMap(\.self)
            .sorted { ($0.neighbour, $0.block) < ($1.neighbour, $1.block) }
        var run: (neighbour: Int, blocks: Range<UInt64>)?
        for candidate in sorted {
            if let last = run, last.neighbour == candidate.neighbour, candidate.block <= last.blocks.upperBound + 8 {
                run!.blocks = last.blocks.lowerBound..<max(last.blocks.upperBound, candidate.block + 1)
                continue
            }
            willRead(run)
            run = (candidate.neighbour, candidate.block..<candidate.block + 1)
        }
        willRead(run)
    }

    /// Reads a candidate's block and hashes it, both now.
    /// - Parameter buffer: `blockSize` bytes; holds the block only where the answer is true. A short tail block is filled up
    ///   with zeros.
    /// - Returns: Whether the bytes have the expected fingerprint. False too where the image is gone, has become shorter or
    ///   can't be read: a neighbour that changes is a miss and never an error.
    public func fetch(
        _ candidate: Candidate, expecting fingerprint: Fingerprint,
        into buffer: UnsafeMutableRawBufferPointer,
        hasher: BlockHasher
    ) -> Bool {
        fetch(candidate, prefix: fingerprint.high, into: buffer, hasher: hasher) == fingerprint
    }

    /// As `fetch`, where only the first half of the fingerprint is known.
    /// - Returns: The whole of it; nil where the bytes have none that begins so.
    public func fetch(
        _ candidate: Candidate, prefix: UInt64, into buffer: UnsafeMutableRawBufferPointer, hasher: BlockHasher
    ) -> Fingerprint? {
        precondition(buffer.count == blockSize, "the buffer holds one block")
        guard neighbours.indices.contains(candidate.neighbour),
            candidate.block < neighbours[candidate.neighbour].blocks
        else { return nil }
        let offset = candidate.block * UInt64(blockSize)
        let count = Int(min(UInt64(blockSize), neighbours[candidate.neighbour].size - offset))
        for place in count..<blockSize { buffer[place] = 0 }
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        if images[candidate.neighbour].read(into: part, at: offset) {
            let fingerprint = hasher.fingerprint(UnsafeRawBufferPointer(buffer))
            if fingerprint.high == prefix { return fingerprint }
        }
        images[candidate.neighbour].forget()
        return nil
    }

    /// Calls `found` with the neighbour, the place in the batch and the block, for each neighbour that has it.
    /// - Parameters:
    ///   - batch: Without `.zero`; ascending is quickest.
    ///   - isByPrefix: only the first halves are known.
    func findAll(
        _ batch: [Fingerprint], isByPrefix: Bool = false,
        found: (_ neighbour: Int, _ place: Int, _ block: UInt64) -> Void
    ) {
        for part in snapshot.parts {
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

    private func willRead(_ run: (neighbour: Int, blocks: Range<UInt64>)?) {
        guard let run, neighbours.indices.contains(run.neighbour), run.blocks.count > 1 else { return }
        let size = UInt64(blockSize)
        images[run.neighbour].willRead(run.blocks.lowerBound * size..<run.blocks.upperBound * size)
    }
}
