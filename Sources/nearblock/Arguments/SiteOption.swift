import ArgumentParser
import Site

/// Option that selects a site.
struct SiteOption: ParsableArguments {
    @Option(help: ArgumentHelp("Folder that the hosts of the site share.", valueName: "dir"), completion: .directory)
    var site: String

    var store: SiteStore { SiteStore(path: site) }
}
