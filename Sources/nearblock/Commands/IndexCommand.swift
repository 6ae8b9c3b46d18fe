import ArgumentParser

/// `nearblock index`.
struct IndexCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "index",
        abstract: "Keep the index of neighbours: the images that disks moved here may draw on.",
        subcommands: [
            IndexAddCommand.self, IndexRefreshCommand.self, IndexRemoveCommand.self, IndexListCommand.self,
            IndexStatsCommand.self, IndexVerifyCommand.self, IndexSimilarityCommand.self,
        ])
}
