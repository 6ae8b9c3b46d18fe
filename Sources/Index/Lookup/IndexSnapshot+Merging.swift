/// Merging catalogues: those of an index, or those of a site's samples.
extension IndexSnapshot {
    /// Chooses the catalogues to merge.
    /// - Parameters:
    ///   - hasUncovered: Whether some tables are in no catalogue; the new one will list them.
    ///   - intoOne: Whether to leave a single catalogue.
    func mergePlan(hasUncovered: Bool, intoOne: Bool = false) -> MergePlan {
        MergePlan(parts.map(candidate), hasUncovered: hasUncovered, intoOne: intoOne)
    }

    private func candidate(_ part: Part) -> MergePlan.Candidate {
        let live = part.live
        let share = part.isSampled ? Sampling.period : 1
        return MergePlan.Candidate(
            entries: live.reduce(0) { $0 + tables[$1].header.distinct / share }, live: live.count,
            tables: part.members.count)
    }

    /// Returns the tables that a merged catalogue lists, and the files that it makes useless.
    /// - Parameter uncovered: Positions of tables that it lists in any case.
    func merging(_ plan: MergePlan, with uncovered: [Int]) -> (members: [Int], replaced: [String]) {
        var replaced = plan.useless.map { parts[$0].file }
        var members = uncovered
        for place in plan.merged.sorted(by: { parts[$0].live.count < parts[$1].live.count }) {
            let more = members + parts[place].live
            let most = more.map { tables[$0].header.blockCount }.max()!
            guard CatalogueHeader.fits(tables: more.count, maximumBlocks: most) else { continue }
            members = more
            replaced.append(parts[place].file)
        }
        return (members, replaced)
    }
}
