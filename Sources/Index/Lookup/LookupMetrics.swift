import Metrics

/// Counts lookups through swift-metrics: one change for each batch, and one for each block of a neighbour that has changed.
package enum LookupMetrics {
    /// Fingerprints that were looked up.
    package static let searchedName = "nearblock_index_lookups_total"
    /// Fingerprints for which a neighbour was found.
    package static let hitsName = "nearblock_index_hits_total"
    /// Blocks that were found, and then read and hashed to something else.
    package static let staleName = "nearblock_index_stale_hits_total"

    private static let searched = Counter(label: searchedName)
    private static let hits = Counter(label: hitsName)
    static let stale = Counter(label: staleName)

    static func counted(_ answers: [Candidate?], of fingerprints: Int) -> [Candidate?] {
        searched.increment(by: fingerprints)
        hits.increment(by: answers.count { $0 != nil })
        return answers
    }
}
