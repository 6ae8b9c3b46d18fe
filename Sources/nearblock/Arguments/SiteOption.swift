import ArgumentParser
import Site

/// Option that selects a site.
struct SiteOption: ParsableArguments {
    @Option(
        help: ArgumentHelp("Folder that the hosts of the site share, or rados:POOL[/NAMESPACE].", valueName: "store"),
        completion: .directory)
    var site: String

    var store: SiteStore { get throws { try SiteStore(naming: site) } }
}
