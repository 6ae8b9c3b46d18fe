import Metrics

/// Counts what hosts of a site do for each other, through swift-metrics.
package enum SiteMetrics {
    /// Fingerprints that were looked for on other hosts.
    package static let searchedName = "nearblock_site_lookups_total"
    /// Fingerprints for which another host's image was found.
    package static let hitsName = "nearblock_site_hits_total"
    /// Blocks that were found on other hosts, and could not be read there, or had changed.
    package static let staleName = "nearblock_site_stale_hits_total"
    /// Bytes that were read from other hosts.
    package static let borrowedName = "nearblock_site_borrowed_bytes_total"
    /// Bytes that other hosts have read here.
    package static let lentName = "nearblock_site_lent_bytes_total"
    /// Connections of other hosts that were refused.
    package static let refusedName = "nearblock_site_refused_total"

    private static let searched = Counter(label: searchedName)
    private static let hits = Counter(label: hitsName)
    private static let stale = Counter(label: staleName)
    private static let borrowed = Counter(label: borrowedName)
    private static let lent = Counter(label: lentName)
    private static let refused = Counter(label: refusedName)

    static func countSearches(_ count: Int, hits found: Int) {
        searched.increment(by: count)
        hits.increment(by: found)
    }

    package static func countStale() { stale.increment() }

    package static func countBorrowed(_ bytes: Int) { borrowed.increment(by: bytes) }

    package static func countLent(_ bytes: Int) { lent.increment(by: bytes) }

    package static func countRefusal() { refused.increment() }
}
