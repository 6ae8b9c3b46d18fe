import Index
import Metrics
import Monitoring
import NBDServer

/// The metrics that the node's code changes through swift-metrics, for what happens seldom.
enum FacadeMetrics {
    /// Results of migrations from this node.
    enum Result: String, CaseIterable {
        case moved
        case failed
        case cancelled
    }

    static let migrationsName = "nearblock_migrations_total"
    static let downtimeName = "nearblock_migration_downtime_seconds"
    static let refusedName = "nearblock_clients_refused_total"
    static let acceptedName = "nearblock_clients_accepted_total"

    /// From 1 ms, twice as long each, to 65 s.
    private static let downtimeBounds = (0...16).map { Double(1 << $0) / 1000 }

    /// The backend, once for the process.
    static let registry: FacadeRegistry = {
        let registry = FacadeRegistry([
            FacadeMetric(acceptedName, "NBD clients that have opened an export."),
            FacadeMetric(refusedName, "NBD clients that were turned away, by reason."),
            FacadeMetric(migrationsName, "Disks whose migration from this node has ended, by result."),
            FacadeMetric(
                downtimeName, "Downtime of disks that have moved from this node: how long a request waited.",
                bounds: downtimeBounds),
            FacadeMetric(LookupMetrics.searchedName, "Fingerprints that were looked up in the index."),
            FacadeMetric(LookupMetrics.hitsName, "Fingerprints for which the index named a neighbour's block."),
            FacadeMetric(
                LookupMetrics.staleName, "Neighbours' blocks that the index named and that had changed since."),
            FacadeMetric(SiteMetrics.searchedName, "Fingerprints that were looked for on other hosts of the site."),
            FacadeMetric(SiteMetrics.hitsName, "Fingerprints for which another host's image was found."),
            FacadeMetric(
                SiteMetrics.staleName, "Blocks on other hosts that could not be read, or that had changed since."),
            FacadeMetric(SiteMetrics.borrowedName, "Bytes that were read from other hosts of the site."),
            FacadeMetric(SiteMetrics.lentName, "Bytes that other hosts of the site have read here."),
            FacadeMetric(SiteMetrics.refusedName, "Connections of other hosts that were refused."),
        ])
        MetricsSystem.bootstrap(registry)
        return registry
    }()

    /// Makes every metric appear from the start, with 0: a rate needs a value before the first event.
    static func begin() {
        _ = registry
        let names = [
            LookupMetrics.searchedName, LookupMetrics.hitsName, LookupMetrics.staleName, acceptedName,
            SiteMetrics.searchedName, SiteMetrics.hitsName, SiteMetrics.staleName, SiteMetrics.borrowedName,
            SiteMetrics.lentName, SiteMetrics.refusedName,
        ]
        for name in names { _ = Counter(label: name) }
        for result in Result.allCases { _ = migrations(result) }
        for refusal in ClientRefusal.all { _ = refused(refusal) }
        _ = downtime
    }

    static func migrations(_ result: Result) -> Counter {
        Counter(label: migrationsName, dimensions: [("result", result.rawValue)])
    }

    static var downtime: Metrics.Timer { Metrics.Timer(label: downtimeName) }

    static func refused(_ refusal: ClientRefusal) -> Counter {
        Counter(label: refusedName, dimensions: [("reason", refusal.name)])
    }

    static var accepted: Counter { Counter(label: acceptedName) }
}
