import ArgumentParser
import Site

/// `nearblock site remove`.
struct SiteRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a host that is gone from a site, with all that it has published.",
        discussion: HelpText.text(
            "Watches the host first, for half a minute, or a minute if it was alive just now. Nodes do this themselves for "
                + "a host that has been gone for a week.",
            examples: "nearblock site remove --site /mnt/site host3", "nearblock site remove --site /mnt/site old-host")
    )

    @OptionGroup var place: SiteOption
    @Argument(help: "Name of the host.")
    var host: String

    func run() async throws { try place.store.remove(host) }
}
