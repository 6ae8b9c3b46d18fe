/// Chooses the neighbour that is likely to make a good prefix, from samples that both sides have looked up.
package struct RelativeChoice: Sendable {
    /// A neighbour of the source.
    package struct Candidate: Equatable, Sendable {
        package let neighbour: Int
        /// Samples of the moved disk that it has.
        package let hits: Int

        package init(neighbour: Int, hits: Int) {
            self.neighbour = neighbour
            self.hits = hits
        }
    }

    /// The most neighbours that the destination is asked about.
    package static let mostCandidates = 4
    /// The least share of samples that a relative has. Debian 13 has 11 % of Debian 12; systems of another origin have
    /// below 1 %.
    private static let leastHits = 0.02
    /// The disk itself, or a twin of it: with that at the destination too, exact hits leave nothing for a prefix.
    private static let mostHits = 0.9
    /// The share of the samples that the destination may have at most: a prefix can save little then.
    private static let mostKnown = 0.8
    /// The least share of a relative that the destination must have.
    private static let leastShare = 0.25

    /// The highest rate, in bits a second, and the shortest round trip where no rate is known, for which it pays to search.
    /// The search of two disks with 430 MB of data takes 1.4 s of a core.
    private static let fastest: UInt64 = 200_000_000
    private static let nearest = Duration.milliseconds(5)

    /// Whether a link is so slow that a prefix may save more time than the search for it takes.
    /// - Parameters:
    ///   - bitsPerSecond: the limit of the link; nil if there is none.
    ///   - roundTrip: as measured before the offer.
    package static func isWorthSearching(bitsPerSecond: UInt64?, roundTrip: Duration) -> Bool {
        bitsPerSecond.map { $0 <= fastest } ?? (roundTrip >= nearest)
    }

    /// The neighbours to ask about, the best first.
    /// - Parameters:
    ///   - hits: for each neighbour, the number of samples that it has.
    ///   - samples: number of all.
    package static func candidates(hits: [Int], samples: Int) -> [Candidate] {
        let least = max(1, Double(samples) * leastHits)
        let most = Double(samples) * mostHits
        return Array(
            hits.indices.filter { Double(hits[$0]) >= least && Double(hits[$0]) <= most }
                .map { Candidate(neighbour: $0, hits: hits[$0]) }
                .sorted { ($0.hits, $1.neighbour) > ($1.hits, $0.neighbour) }.prefix(mostCandidates))
    }

    /// The best of the candidates; nil if none is good enough.
    /// - Parameters:
    ///   - shares: for each candidate, the share of it that the destination has, 0 to 1.
    ///   - known: the share of the samples that the destination has, 0 to 1.
    package static func best(of candidates: [Candidate], shares: [Double], known: Double) -> Candidate? {
        guard known <= mostKnown else { return nil }
        return zip(candidates, shares).filter { $0.1 >= leastShare }
            .max { Double($0.0.hits) * $0.1 < Double($1.0.hits) * $1.1 }?.0
    }
}
