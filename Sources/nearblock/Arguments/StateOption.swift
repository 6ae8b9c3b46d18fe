import ArgumentParser
import Migration

/// The state directory that a command works on.
struct StateOption: ParsableArguments {
    @Option(help: ArgumentHelp("The node's state directory (default: \(DefaultPaths.state)).", valueName: "dir"))
    var state: String?

    /// Its records.
    /// - Throws: `FileError`.
    func open() throws -> RecordKeeper {
        RecordKeeper(directory: try StateDirectory(path: state ?? DefaultPaths.state))
    }
}
