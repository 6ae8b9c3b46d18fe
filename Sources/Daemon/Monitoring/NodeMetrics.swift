import MigrationProtocol
import Monitoring
import NBDServer

/// Collects all metrics of a node.
struct NodeMetrics: Sendable {
    /// The program's release.
    static let version = Release.version

    private let tallies: TallyBook
    private let index: IndexMetrics?

    init(tallies: TallyBook, index: IndexMetrics?) {
        self.tallies = tallies
        self.index = index
    }

    /// Returns the metrics in Prometheus' text format.
    func text(of node: Node) async -> [UInt8] {
        let seen = await node.observe()
        var text = PrometheusText([
            MetricFamily(
                "nearblock_build_info", .gauge, "1; the label has the release.",
                [MetricSample(labels: [("version", Self.version)], value: .count(1))]),
            MetricFamily(
                "nearblock_clients", .gauge, "Connections of NBD clients, with and without an export.",
                [MetricSample(value: .count(UInt64(max(seen.clients, 0))))]),
        ])
        var families = ExportMetrics(
            seen.statuses, connections: seen.connections, missingBytes: seen.missingBytes
        ).families
        families += RequestMetrics(tallies).families
        families += FinishedMetrics(seen.finished).families
        families += FacadeMetrics.registry.families
        families += await index?.families() ?? []
        families += SiteMetricFamilies(seen.site).families
        families += CertificateMetrics(server: seen.encryption, peers: seen.peers).families
        families += ProcessFigures.families(openDescriptors: Int(DescriptorReserve.inUse))
        for family in families { text.add(family) }
        return text.bytes
    }
}
