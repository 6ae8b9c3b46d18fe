/// Which catalogues are to become one.
///
/// Catalogues are kept in tiers by size, each four times the one below. Four in one tier become one, with all that are
/// smaller, so every entry is written a few times in all, and a look-up asks at most three catalogues a tier.
struct MergePlan: Equatable {
    /// What is known of a catalogue.
    struct Candidate {
        /// Entries of tables that count.
        let entries: UInt64
        /// Tables that count, and all.
        let live: Int
        let tables: Int
    }

    private static let perTier = 4
    /// Entries that are merged in no time.
    private static let smallest: UInt64 = 1 << 20

    /// Places of catalogues that are replaced by one.
    let merged: [Int]
    /// Places of catalogues that count for nothing any more.
    let useless: [Int]

    /// - Parameters:
    ///   - candidates: all catalogues.
    ///   - hasUncovered: whether there are tables that no catalogue tells of; the new one will.
    ///   - intoOne: whether to leave one catalogue only.
    init(_ candidates: [Candidate], hasUncovered: Bool, intoOne: Bool) {
        useless = candidates.indices.filter { candidates[$0].live == 0 }
        let used = candidates.indices.filter { candidates[$0].live > 0 }
        let limit = intoOne ? Int.max : Self.highestFullTier(used.map { Self.tier(candidates[$0]) })
        let chosen = used.filter { place in
            let candidate = candidates[place]
            return Self.tier(candidate) <= limit || candidate.live * 2 <= candidate.tables
        }
        let isWorthIt =
            hasUncovered || chosen.count > 1 || chosen.contains { candidates[$0].live < candidates[$0].tables }
        merged = isWorthIt ? chosen : []
    }

    /// -1 where none is full.
    private static func highestFullTier(_ tiers: [Int]) -> Int {
        var carried = 0
        var highest = -1
        for tier in 0...(tiers.max() ?? 0) {
            let count = tiers.count { $0 == tier } + carried
            carried = count >= perTier ? 1 : 0
            if count >= perTier { highest = tier }
        }
        return highest
    }

    private static func tier(_ candidate: Candidate) -> Int {
        (64 - (candidate.entries / smallest).leadingZeroBitCount + 1) / 2
    }
}
