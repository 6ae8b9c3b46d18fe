import ArgumentParser
import Foundation
import Migration

/// Option that selects a state directory.
struct StateOption: ParsableArguments {
    @Option(
        help: ArgumentHelp("State directory of the node (default: \(DefaultPaths.state)).", valueName: "dir"),
        completion: .directory)
    var state: String?

    /// Opens the records of the directory.
    /// - Throws: `CommandFailure` if there is no such directory; a mistyped name must not look like one without
    ///   records.
    func open() throws -> RecordKeeper {
        let path = state ?? DefaultPaths.state
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue else {
            throw CommandFailure(reason: "there is no state directory \(path); give the node's with --state DIR")
        }
        return RecordKeeper(directory: try StateDirectory(path: path))
    }
}
