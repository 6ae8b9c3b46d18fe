import Daemon

/// The hosts of sites that hold most of a disk, as a table for people.
struct SimilarityTable {
    let lines: [String]

    init(_ similarity: SiteSimilarity) {
        let whole = similarity.size - min(similarity.size, similarity.zero + similarity.repeated)
        lines =
            [
                "\(similarity.disk): \(Format.bytes(similarity.size)), \(Format.bytes(whole)) neither zero nor repeated"
            ] + similarity.sites.flatMap { Self.lines($0, whole) }
    }

    private static func lines(_ site: SiteSimilarity.Place, _ whole: UInt64) -> [String] {
        var table = TextTable(columns: [
            .init("  HOST", width: 18), .init("STATE", width: 5), .init("HAS", width: 7, isRight: true),
            .init("BYTES", width: 9, isRight: true), .init("BORROWS", width: 9, isRight: true),
            .init("ADDRESS", width: 24),
        ])
        for host in site.hosts {
            table.add(
                [
                    "  " + host.host, host.alive ? "alive" : "gone", Format.percent(host.found, of: whole),
                    Format.bytes(host.found), host.alive ? Format.bytes(host.borrowed) : "-", host.address ?? "-",
                ], details: [])
        }
        let found = "\(Format.percent(site.found, of: whole).trimming) found"
        let link = "\(Format.bytes(site.link)) would cross the link, about \(Format.bytes(site.data)) compressed"
        return ["\(site.store): \(found), \(link)"] + table.lines
    }
}

extension String {
    /// The text without the spaces before it.
    fileprivate var trimming: Substring { drop { $0 == " " } }
}
