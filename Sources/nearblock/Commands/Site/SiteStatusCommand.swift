import ArgumentParser
import Site

/// `nearblock site status`.
struct SiteStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the hosts of a site and the images that they lend.",
        discussion: HelpText.text(
            examples: "nearblock site status --site /mnt/site", "nearblock site status --site /mnt/site --json"))

    @OptionGroup var place: SiteOption
    @Flag(help: "Print one JSON object, with the images of each host.")
    var json = false

    func run() async throws {
        let report = try SiteReport(of: place.store)
        if json { return try JSON.print(report) }
        for problem in report.problems { Terminal.report(problem) }
        for line in Self.lines(report) { print(line) }
    }

    private static func lines(_ report: SiteReport) -> [String] {
        var table = TextTable(columns: [
            .init("HOST", width: 16), .init("STATE", width: 10), .init("IMAGES", width: 7, isRight: true),
            .init("SIZE", width: 10, isRight: true), .init("ADDRESS", width: 24),
        ])
        for host in report.hosts {
            let size = host.images.reduce(0 as UInt64) { $0 &+ $1.size }
            table.add(
                [
                    host.host, host.isAlive ? "alive" : "gone", "\(host.images.count)", Format.bytes(size),
                    host.address ?? "-",
                ], details: host.isAlive ? [] : ["last seen \(Int(host.lastSeenSeconds)) s ago"])
        }
        let unlisted = report.unlisted == 0 ? "" : ", \(report.unlisted) images not listed yet"
        let disks = (report.disks ?? []).map { "\($0.export) on \($0.image): \($0.state.rawValue), at \($0.host)" }
        return table.lines + disks
            + ["\(report.catalogues) catalogues of samples, \(Format.bytes(report.catalogueBytes))\(unlisted)"]
    }
}
