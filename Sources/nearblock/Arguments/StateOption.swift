import ArgumentParser
import Foundation
import Migration

/// The state directory that a command works on.
struct StateOption: ParsableArguments {
    @Option(help: ArgumentHelp("The node's state directory (default: \(DefaultPaths.state)).", valueName: "dir"))
    var state: String?

    /// Its records.
    /// - Throws: `CommandFailure` where there is no such directory: a name that is mistyped has no records either.
    func open() throws -> RecordKeeper {
        let path = state ?? DefaultPaths.state
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue else {
            throw CommandFailure(reason: "there is no state directory \(path); give the node's with --state DIR")
        }
        return RecordKeeper(directory: try StateDirectory(path: path))
    }
}
