import Monitoring
import Site

/// The metrics of a node's site; the counters are in `FacadeMetrics`.
struct SiteMetricFamilies {
    let families: [MetricFamily]

    /// - Parameter figures: Nil without a site, and before the first look at it.
    init(_ figures: SiteFigures?, now: ContinuousClock.Instant = .now) {
        guard let figures else {
            families = []
            return
        }
        func family(_ name: String, _ help: String, _ value: UInt64) -> MetricFamily {
            MetricFamily("nearblock_site_\(name)", .gauge, help, [MetricSample(value: .count(value))])
        }
        var hosts = MetricFamily("nearblock_site_hosts", .gauge, "Hosts of the site, this one too, by state.")
        hosts.add(["state": "alive"], .count(UInt64(figures.alive)))
        hosts.add(["state": "gone"], .count(UInt64(figures.gone)))
        let age = (now - figures.looked) / .seconds(1)
        families = [
            hosts,
            family("published_tables", "Tables that this node has published.", UInt64(figures.tables)),
            family("published_bytes", "Bytes of the tables that this node has published.", figures.tableBytes),
            family("samples", "Samples in the catalogues of the site.", figures.samples),
            family("samples_bytes", "Bytes of the catalogues of the site.", figures.sampleBytes),
            MetricFamily(
                "nearblock_site_refresh_age_seconds", .gauge,
                "Time since the last look at the site that has succeeded.",
                [MetricSample(value: .number(max(0, age)))]),
        ]
    }
}
