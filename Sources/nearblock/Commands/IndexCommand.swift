import ArgumentParser

/// `nearblock index`.
struct IndexCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "index",
        abstract: "Manage the index of neighbours: images whose blocks migrations to this node can use.",
        subcommands: [
            IndexAddCommand.self, IndexRefreshCommand.self, IndexRemoveCommand.self, IndexListCommand.self,
            IndexStatsCommand.self, IndexVerifyCommand.self, IndexSimilarityCommand.self,
        ])
}
