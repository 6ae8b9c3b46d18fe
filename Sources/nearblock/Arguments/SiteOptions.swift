import ArgumentParser
import Configuration
import Daemon
import PeerModel

/// Options of a node that belongs to a site of several hosts.
struct SiteOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Lend neighbours to other hosts and borrow theirs: a folder that all hosts of the site share, or "
                + "rados:POOL[/NAMESPACE]; needs --index and --peer-listen.", valueName: "store"),
        completion: .directory)
    var site: String?
    @Option(help: ArgumentHelp("Name of this host in the site (default: the machine's name).", valueName: "name"))
    var host: String?
    @Option(
        help: ArgumentHelp(
            "Address of --peer-listen as the other hosts reach it.", valueName: "host:port"))
    var siteAddress: PeerAddress?
    @Option(
        help: ArgumentHelp("Limit of all that is lent to other hosts, in bits a second, as in 10G.", valueName: "rate"),
        transform: BitRate.init)
    var siteRate: BitRate?

    /// Overrides the configuration with the options that were given.
    func apply(to node: inout NodeConfiguration) {
        node.site.store = site ?? node.site.store
        node.site.host = host ?? node.site.host
        node.site.address = siteAddress ?? node.site.address
        node.site.bytesPerSecond = siteRate.map { max(1, $0.bitsPerSecond / 8) } ?? node.site.bytesPerSecond
    }
}
