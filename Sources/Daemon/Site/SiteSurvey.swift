import Index
import Migration
import Site

/// A site for the question which of its hosts have a disk.
struct SiteSurvey {
    let tables: SiteTables
    /// First all hosts that are alive together, then each host by itself.
    let groups: [NeighbourIndex]
    private let report: SiteReport

    /// One line for each thing that is wrong in the site.
    var problems: [String] { report.problems }

    /// - Parameter domains: Of the images that count; empty for all.
    init(of site: (report: SiteReport, tables: SiteTables), domains: [String]) {
        (report, tables) = site
        let alive = Set(site.report.hosts.filter(\.isAlive).map(\.host))
        let groups = [alive] + site.report.hosts.map { [$0.host] }
        self.groups = groups.map { hosts in
            let index = NeighbourIndex.of(site.tables.only(of: hosts))
            return domains.isEmpty ? index : index.restricted(to: Set(domains))
        }
    }

    /// - Parameter shares: One for each group, in their order.
    func place(_ shares: ArraySlice<SimilarityScan.Share>) -> SiteSimilarity.Place {
        let all = shares[shares.startIndex]
        let hosts = zip(report.hosts, shares.dropFirst()).map { host, share in
            SiteSimilarity.Host(
                host: host.host, address: host.address, alive: host.isAlive, found: share.found,
                borrowed: all.found - min(all.found, share.found))
        }
        return SiteSimilarity.Place(
            store: report.store, found: all.found, link: all.link, data: all.data,
            hosts: hosts.sorted { ($0.found, $1.host) > ($1.found, $0.host) })
    }
}
