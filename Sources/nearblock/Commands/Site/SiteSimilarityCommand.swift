import ArgumentParser
import Block
import Daemon
import Foundation
import FreeSpace
import Site

/// `nearblock site similarity`.
struct SiteSimilarityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "similarity", abstract: "Show which hosts of a site hold most of a disk.",
        usage: "nearblock site similarity <disk> [--site <store>] ... [<options>]",
        discussion: HelpText.text(
            "Says what moving the disk to each site would cost, by the tables that the hosts have published.",
            examples: "nearblock site similarity web",
            "nearblock site similarity /images/web.raw --site /mnt/site --site /mnt/other"))

    @Argument(help: "An export of the node, or a path with a slash of a raw image or device, which needs --site.")
    var disk: String
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Store of a site; may be repeated (default: that of the node).", valueName: "store"),
        completion: .directory)
    var site: [String] = []
    @Option(
        name: .customLong("domain"), parsing: .singleValue,
        help: ArgumentHelp("Count only images of this domain; may be repeated (default: all).", valueName: "name"))
    var domains: [String] = []
    @Flag(help: "Print one JSON object.")
    var json = false
    @OptionGroup var node: ControlOption

    /// Whether the disk is a path, and not the name of an export.
    private var isPath: Bool { ["/", "./", "../"].contains { disk.hasPrefix($0) } }

    func validate() throws {
        guard !isPath || !site.isEmpty else {
            throw ValidationError("\(disk) is a path, which needs the store of a site: give --site STORE.")
        }
    }

    func run() async throws {
        let similarity = try await isPath ? measure() : ask()
        if json { return try JSON.print(similarity) }
        for problem in similarity.problems { Terminal.report(problem) }
        for line in SimilarityTable(similarity).lines { print(line) }
    }

    private func ask() async throws -> SiteSimilarity {
        // The node may have another working directory.
        let sites = site.map(SiteStore.absolute)
        let reply = try await node.ask(.similarity(export: disk, sites: sites, domains: domains))
        guard case .similarity(let similarity) = reply else { throw ControlError.notControl(path: node.control) }
        return similarity
    }

    private func measure() throws -> SiteSimilarity {
        FormatNotice.check([disk])
        let image = try RawImage(path: disk, access: .readOnly)
        return try SiteSimilarity(
            of: image, named: disk, stores: site, domains: domains,
            places: { _ in PartitionReader().places(on: image.descriptor) }, isWanted: { true })
    }
}
