import ArgumentParser
import Foundation
import Index

/// Which index a command is for.
struct IndexOption: ParsableArguments {
    @Option(help: ArgumentHelp("The folder of the index.", valueName: "dir"))
    var index: String

    /// Opens it for reading, naming the tables that can't be used.
    func open(check: TableCheck = .resident) throws -> NeighbourIndex {
        let opened = try NeighbourIndex.open(directory: index, check: check)
        for problem in opened.problems { Terminal.report(problem) }
        return opened
    }

    /// Opens it for changes; unlike `add`, these make no new index where the folder has none.
    func openStore() throws -> IndexStore {
        guard try IndexStore.exists(in: index) else { throw IndexError.noIndex(directory: index) }
        return try IndexStore(directory: index)
    }
}
