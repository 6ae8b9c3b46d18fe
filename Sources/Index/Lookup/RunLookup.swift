import Hashing

/// Looks up one batch of fingerprints of which few are found, and those in runs of blocks.
///
/// All are searched for in the catalogue, so that most misses cost nothing else. A hit is confirmed in the fingerprints
/// of its disk, of which some around it are read too: they confirm the rest of its run.
struct RunLookup: ~Copyable {
    typealias Place = FingerprintIndex.Place

    /// Fingerprints that are searched for together.
    private static let piece = 1024
    /// Fingerprints that are read before and from a hit on.
    private static let (behind, ahead): (UInt64, UInt64) = (8, 24)
    /// Entries of one fingerprint that are tried.
    private static let enough = 32

    private let fingerprints: [Fingerprint]
    private let disks: [any FingerprintSource]
    private let search: CatalogueSearch
    private var answers: [Place?]
    /// The latest answer and its position in the batch.
    private var last: (index: Int, place: Place)?
    /// The blocks whose fingerprints are in `buffer`.
    private var window: (disk: Int, blocks: Range<UInt64>) = (0, 0..<0)
    private let buffer = ReadBuffer(count: Int(behind + ahead) * Fingerprint.byteCount)

    init(
        _ fingerprints: [Fingerprint], after place: Place?, in catalogue: Catalogue, of disks: [any FingerprintSource]
    ) {
        self.fingerprints = fingerprints
        self.disks = disks
        search = CatalogueSearch(catalogue)
        answers = [Place?](repeating: nil, count: fingerprints.count)
        last = place.map { (-1, $0) }
    }

    mutating func run() -> [Place?] {
        for start in stride(from: 0, to: fingerprints.count, by: Self.piece) {
            find(start..<min(start + Self.piece, fingerprints.count))
        }
        return answers
    }

    private mutating func find(_ part: Range<Int>) {
        let open = part.filter { Self.isOfBlock(fingerprints[$0]) }
        var matches: [EntryMatch] = []
        // A fingerprint's matches stand together, but not in the order of the batch.
        var firstMatches = [Int](repeating: .max, count: part.count)
        search.run(open.map { fingerprints[$0].high }) { position, disk, block in
            let place = open[position] - part.lowerBound
            if firstMatches[place] == .max { firstMatches[place] = matches.count }
            guard matches.count - firstMatches[place] < Self.enough else { return }
            matches.append(EntryMatch(place: open[position], table: disk, block: block))
        }
        for index in open where !continueRun(index) {
            var next = firstMatches[index - part.lowerBound]
            while next < matches.count, matches[next].place == index,
                !beginRun(index, at: Place(disk: matches[next].table, block: matches[next].block))
            {
                next += 1
            }
        }
    }

    /// Tries the block that stands where the latest run would go on, also if pages in between were not found.
    private mutating func continueRun(_ index: Int) -> Bool {
        guard let last else { return false }
        let place = Place(disk: last.place.disk, block: last.place.block &+ UInt64(index - last.index))
        // Without a find just before, another read is seldom worth it.
        guard isInWindow(place) || last.index == index - 1 && load(place, behind: 0),
            fingerprint(of: place) == fingerprints[index]
        else { return false }
        accept(place, for: index)
        return true
    }

    /// Tries a block that the catalogue names. Earlier pages then join the run as far as they match. The catalogue
    /// lists only one of several equal blocks, and may have named the wrong one for them.
    private mutating func beginRun(_ index: Int, at place: Place) -> Bool {
        guard isInWindow(place) || load(place, behind: Self.behind), fingerprint(of: place) == fingerprints[index]
        else { return false }
        accept(place, for: index)
        var earlier = index
        var block = place.block
        while earlier > 0, block > window.blocks.lowerBound {
            (earlier, block) = (earlier - 1, block - 1)
            let before = Place(disk: place.disk, block: block)
            guard Self.isOfBlock(fingerprints[earlier]), fingerprint(of: before) == fingerprints[earlier] else { break }
            answers[earlier] = before
        }
        return true
    }

    private mutating func accept(_ place: Place, for index: Int) {
        answers[index] = place
        last = (index, place)
    }

    // MARK: The fingerprints around a block

    private func isInWindow(_ place: Place) -> Bool { place.disk == window.disk && window.blocks.contains(place.block) }

    /// Call for a place in the window.
    private func fingerprint(of place: Place) -> Fingerprint {
        let start = Int(place.block - window.blocks.lowerBound) * Fingerprint.byteCount
        return Fingerprint(bytes: .init(rebasing: buffer.bytes[start..<start + Fingerprint.byteCount]))
    }

    /// Reads the fingerprints around a place; returns false if there is no such place, or it can't be read.
    private mutating func load(_ place: Place, behind: UInt64) -> Bool {
        window.blocks = 0..<0
        guard disks.indices.contains(place.disk), place.block < disks[place.disk].blockCount else { return false }
        let disk = disks[place.disk]
        let blocks =
            place.block - min(behind, place.block)..<min(disk.blockCount, place.block + Self.ahead)
        let bytes = buffer.prefix(blocks.count * Fingerprint.byteCount)
        guard (try? disk.read(blocks, into: bytes)) != nil else { return false }
        window = (place.disk, blocks)
        return true
    }

    /// Returns whether a block may have the fingerprint as its hash.
    private static func isOfBlock(_ fingerprint: Fingerprint) -> Bool {
        fingerprint != .zero && fingerprint != .unknown
    }
}
