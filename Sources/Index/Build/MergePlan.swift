/// Chooses the catalogues to merge into one.
///
/// Tiers hold catalogues by size; each tier is four times the one below. Four catalogues in one tier are merged,
/// together with all smaller ones. So every entry is rewritten only a few times, and a lookup asks at most three
/// catalogues a tier.
struct MergePlan: Equatable {
    /// The facts about a catalogue that the plan depends on.
    struct Candidate {
        /// Entries of tables that are still current.
        let entries: UInt64
        /// Tables that are still current, and all tables.
        let live: Int
        let tables: Int
    }

    private static let perTier = 4
    /// Entries of the lowest tier; merging that many takes no noticeable time.
    private static let smallest: UInt64 = 1 << 20

    /// Positions of the catalogues to replace by one.
    let merged: [Int]
    /// Positions of catalogues without a current table.
    let useless: [Int]

    /// - Parameters:
    /// - candidates: all catalogues.
    /// - hasUncovered: Whether some tables are in no catalogue; the new one will list them.
    /// - intoOne: Whether to leave a single catalogue.
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

    /// Returns -1 if no tier is full.
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
