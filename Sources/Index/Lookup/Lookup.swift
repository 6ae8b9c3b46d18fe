import Hashing

/// Looks up one batch of fingerprints.
///
/// 1. One fingerprint in sixteen is looked up in the catalogues.
/// 2. From each hit, the table is compared with the batch along the disk. Images that share a block mostly share its
///    surroundings, and comparing costs far less than a lookup.
/// 3. Of a site, the same is done with all samples that were not found so far: images of this host go first.
/// 4. Of several hosts that have a block, the nearest and least busy gives it; hosts that have failed are left out.
/// 5. The remaining fingerprints are looked up in the catalogues of whole tables, then in those of `ChampionTables`.
struct Lookup {
    /// Blocks that are compared along one table at a time.
    private static let stretch = 1024
    private static let sampling = 16
    /// Alignments that are tried for one stretch; those with the most hits first.
    private static let most = 16
    /// Entries of one fingerprint that are considered in one catalogue.
    private static let enough = 32
    /// A host that needs so much longer than this one counts half.
    private static let halvedBy = 0.01

    /// An alignment of a table with the batch: block number minus batch position; may be negative.
    private struct Shift: Hashable {
        let table: Int
        let distance: Int64
    }

    private let fingerprints: [Fingerprint]
    private let isByPrefix: Bool
    private let snapshot: IndexSnapshot
    private var answers: [Candidate?]
    /// For each table how gladly its host is asked, from 0 to 1; empty if all are of this host.
    private let weights: [Double]

    /// - Parameter isByPrefix: Whether only the first halves of the fingerprints are known.
    init(_ fingerprints: [Fingerprint], isByPrefix: Bool, in snapshot: IndexSnapshot) {
        self.fingerprints = fingerprints
        self.isByPrefix = isByPrefix
        self.snapshot = snapshot
        answers = [Candidate?](repeating: nil, count: fingerprints.count)
        weights = snapshot.isJoined ? Self.weights(of: snapshot.tables) : []
    }

    private static func weights(of tables: [Table]) -> [Double] {
        var last: (reader: any NeighbourReader, weight: Double)?
        return tables.map { table in
            guard let reader = table.owner?.reader else { return 1 }
            // The tables of a host stand side by side.
            if let last, last.reader === reader { return last.weight }
            let weight = reader.expectedWait.map { 1 / (1 + $0 / .seconds(1) / halvedBy) } ?? 0
            last = (reader, weight)
            return weight
        }
    }

    private func weight(_ table: Int) -> Double { weights.isEmpty ? 1 : weights[table] }

    mutating func run() -> [Candidate?] {
        guard !snapshot.parts.isEmpty else { return answers }
        let samples = fingerprints.count < 2 * Self.sampling ? [] : sample()
        search(samples, isSampled: false)
        follow(from: samples)
        follow(from: searchSite())
        // Samples that were not found are not looked up again.
        var isSample = [Bool](repeating: false, count: samples.isEmpty ? 0 : fingerprints.count)
        for place in samples { isSample[place] = true }
        search(
            fingerprints.indices.filter {
                answers[$0] == nil && fingerprints[$0] != .zero && (isSample.isEmpty || !isSample[$0])
            }, isSampled: false)
        searchChampions()
        return answers
    }

    /// Looks up what nothing else has found in the tables of other hosts that are most used.
    private mutating func searchChampions() {
        guard let champions = snapshot.champions else { return }
        var counts = [Int](repeating: 0, count: snapshot.tables.count)
        for answer in answers { if let answer { counts[answer.neighbour] += 1 } }
        champions.record(
            counts.indices.filter { counts[$0] > 0 && snapshot.tables[$0].owner != nil }.map {
                (snapshot.tables[$0], counts[$0])
            })
        let parts = champions.parts(of: snapshot.tables)
        search(
            fingerprints.indices.filter { answers[$0] == nil && fingerprints[$0] != .zero }, in: parts)
    }

    /// Looks up what the catalogues of samples may list.
    /// - Returns: The positions that were looked up.
    private mutating func searchSite() -> [Int] {
        guard snapshot.parts.contains(where: \.isSampled) else { return [] }
        let places = fingerprints.indices.filter {
            answers[$0] == nil && fingerprints[$0] != .zero && Sampling.isSample(fingerprints[$0].high)
        }
        search(places, isSampled: true)
        return places
    }

    /// Returns the position of the first nonzero fingerprint in each sixteen.
    private func sample() -> [Int] {
        stride(from: 0, to: fingerprints.count, by: Self.sampling).compactMap { start in
            (start..<min(start + Self.sampling, fingerprints.count)).first { fingerprints[$0] != .zero }
        }
    }

    // MARK: Along the tables

    /// Compares tables with the whole batch if any of these positions was found.
    private mutating func follow(from places: [Int]) {
        guard places.contains(where: { answers[$0] != nil }) else { return }
        for start in stride(from: 0, to: fingerprints.count, by: Self.stretch) {
            follow(start..<min(start + Self.stretch, fingerprints.count))
        }
    }

    private mutating func follow(_ places: Range<Int>) {
        var votes: [Shift: (count: Int, first: Int)] = [:]
        for place in places {
            guard let answer = answers[place] else { continue }
            let shift = Shift(table: answer.neighbour, distance: Int64(answer.block) - Int64(place))
            votes[shift, default: (0, place)].count += 1
        }
        func rank(_ vote: (key: Shift, value: (count: Int, first: Int))) -> Double {
            Double(vote.value.count) * weight(vote.key.table)
        }
        let ordered = votes.sorted { (rank($1), $0.value.first) < (rank($0), $1.value.first) }
        for (shift, _) in ordered.prefix(Self.most) { compare(places, shift) }
    }

    private mutating func compare(_ places: Range<Int>, _ shift: Shift) {
        let table = snapshot.tables[shift.table]
        let first = max(Int64(places.lowerBound), -shift.distance)
        let end = min(Int64(places.upperBound), Int64(table.header.blockCount) - shift.distance)
        guard first < end else { return }
        withUnsafeTemporaryAllocation(byteCount: Int(end - first) * Fingerprint.byteCount, alignment: 8) { bytes in
            guard table.file.read(into: bytes, at: table.offset(of: UInt64(first + shift.distance))) else { return }
            for place in Int(first)..<Int(end) where answers[place] == nil && fingerprints[place] != .zero {
                let offset = (place - Int(first)) * Fingerprint.byteCount
                let found = Fingerprint(bytes: .init(rebasing: bytes[offset..<offset + Fingerprint.byteCount]))
                guard found.matches(fingerprints[place], isByPrefix: isByPrefix) else { continue }
                answers[place] = Candidate(neighbour: shift.table, block: UInt64(Int64(place) + shift.distance))
            }
        }
    }

    // MARK: Through the catalogues

    private mutating func search(_ places: [Int], isSampled: Bool) {
        // Several hosts may have a block, each listed in another catalogue of samples.
        search(places, in: snapshot.parts.filter { $0.isSampled == isSampled }, isTogether: isSampled)
    }

    /// - Parameter isTogether: Whether the tables of all parts are chosen from, and not those of the first that has a block.
    private mutating func search(_ places: [Int], in parts: [IndexSnapshot.Part], isTogether: Bool = false) {
        guard !places.isEmpty, !parts.isEmpty else { return }
        let fingerprints = fingerprints
        var entries = places.map { CatalogueEntry(high: fingerprints[$0].high, table: 0, block: UInt64($0)) }
        entries = entries.withUnsafeMutableBufferPointer { EntrySort.sorted($0, sharing: 0) }
        var open = entries.map { (high: $0.high, place: Int($0.block)) }
        var matches: [EntryMatch] = []
        var counts = [Int](repeating: 0, count: snapshot.tables.count)
        for part in parts where !open.isEmpty {
            collect(open, in: part, &matches, &counts)
            guard !isTogether else { continue }
            confirm(matches, counts)
            open.removeAll { answers[$0.place] != nil }
            matches.removeAll(keepingCapacity: true)
            counts = [Int](repeating: 0, count: snapshot.tables.count)
        }
        guard isTogether else { return }
        // The matches of a place must follow each other.
        if parts.count > 1 { matches.sort { $0.place < $1.place } }
        confirm(matches, counts)
    }

    /// Adds the entries of a catalogue that may match, with the number of them in each table.
    private func collect(
        _ open: [(high: UInt64, place: Int)], in part: IndexSnapshot.Part, _ matches: inout [EntryMatch],
        _ counts: inout [Int]
    ) {
        matches.reserveCapacity(matches.count + open.count)
        var current = (place: -1, count: 0)
        CatalogueSearch(part.catalogue).run(open.map(\.high)) { index, member, block in
            guard member < part.members.count, let table = part.members[member], weight(table) > 0 else { return }
            current = (index, current.place == index ? current.count + 1 : 1)
            guard current.count <= Self.enough else { return }
            counts[table] += 1
            matches.append(EntryMatch(place: open[index].place, table: table, block: block))
        }
    }

    /// Tries for each fingerprint the table with the most matches first, and the other tables only where that one
    /// failed.
    private mutating func confirm(_ matches: [EntryMatch], _ counts: [Int]) {
        func rank(_ table: Int) -> Double { Double(counts[table]) * weight(table) }
        var first: [EntryMatch] = []
        var rest: [EntryMatch] = []
        first.reserveCapacity(matches.count)
        for match in matches {
            guard let last = first.last, last.place == match.place else {
                first.append(match)
                continue
            }
            if rank(match.table) > rank(last.table) {
                first[first.count - 1] = match
                rest.append(last)
            } else {
                rest.append(match)
            }
        }
        accept(first)
        rest.removeAll { answers[$0.place] != nil }
        rest.sort { rank($0.table) > rank($1.table) }
        accept(rest)
    }

    private mutating func accept(_ matches: [EntryMatch]) {
        guard !matches.isEmpty else { return }
        let fingerprints = fingerprints
        var answers = answers
        self.answers = []
        EntryMatch.confirm(
            matches, in: snapshot.tables, { $1.matches(fingerprints[$0], isByPrefix: isByPrefix) }
        ) { index in
            let match = matches[index]
            guard answers[match.place] == nil else { return }
            answers[match.place] = Candidate(neighbour: match.table, block: match.block)
        }
        self.answers = answers
    }
}
