import ArgumentParser

/// `nearblock site`.
struct SiteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "site",
        abstract: "Look after hosts that lend each other neighbours.",
        discussion: HelpText.text(
            examples: "nearblock site status --site /mnt/site",
            "nearblock site remove --site /mnt/site host3"),
        subcommands: [
            SiteStatusCommand.self, SiteSimilarityCommand.self, SiteVerifyCommand.self, SiteRemoveCommand.self,
            SiteTakeoverCommand.self,
        ])
}
