import ArgumentParser

/// `nearblock index`.
struct IndexCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "index",
        abstract: "Manage the index of neighbours: images whose blocks migrations to this node can use.",
        discussion: HelpText.text(

            examples: "nearblock index add --index /var/lib/index /images/a.raw /images/b.raw",
            "nearblock index similarity --index /var/lib/index /images/new.raw"),
        subcommands: [
            IndexAddCommand.self, IndexRefreshCommand.self, IndexRemoveCommand.self, IndexListCommand.self,
            IndexStatsCommand.self, IndexVerifyCommand.self, IndexSimilarityCommand.self,
        ])
}
