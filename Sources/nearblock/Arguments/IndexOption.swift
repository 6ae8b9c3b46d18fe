import ArgumentParser
import Foundation
import FreeSpace
import Index

/// Option that selects an index.
struct IndexOption: ParsableArguments {
    @Option(help: ArgumentHelp("Directory of the index.", valueName: "dir"), completion: .directory)
    var index: String

    /// Opens the index for reading, and reports problems with its tables.
    func open(check: TableCheck = .resident) throws -> NeighbourIndex {
        let opened = try NeighbourIndex.open(directory: index, check: check)
        for problem in opened.problems { Terminal.report(problem) }
        return opened
    }

    /// Opens the index for changes. Unlike `add`, creates no index if there is none.
    func openStore() throws -> IndexStore {
        guard try IndexStore.exists(in: index) else { throw IndexError.noIndex(directory: index) }
        return try IndexStore(directory: index, findPlaces: PartitionReader().places)
    }
}
