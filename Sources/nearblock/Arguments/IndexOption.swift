import ArgumentParser
import Foundation
import Index

/// Which index a command is for.
struct IndexOption: ParsableArguments {
    @Option(help: ArgumentHelp("The folder of the index.", valueName: "dir"))
    var index: String

    /// Opens it for reading, naming the tables that can't be used.
    func open() throws -> NeighbourIndex {
        let opened = try NeighbourIndex.open(directory: index)
        for problem in opened.problems { Terminal.report(problem) }
        return opened
    }

    /// One thread for each core.
    static var threads: Int { ProcessInfo.processInfo.activeProcessorCount }
}
