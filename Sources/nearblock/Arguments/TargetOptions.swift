import ArgumentParser
import Configuration
import Daemon
import Migration

/// Options for the operator's commands that make the places of arriving disks.
struct TargetOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            Command that makes the place of each disk that arrives, as those in nbd-scripts/targets, and prints its path \
            (default: a file in --images).
            """,
            valueName: "command"),
        transform: CommandWords.init)
    var prepare: CommandWords?
    @Option(
        help: ArgumentHelp(
            "Command that undoes --prepare for a disk that does not come.", valueName: "command"),
        transform: CommandWords.init)
    var release: CommandWords?

    /// Overrides the configuration with the options that were given.
    /// - Throws: `ValidationError` for a command that undoes without one that prepares.
    func apply(to node: inout NodeConfiguration) throws {
        guard let prepare else {
            guard release == nil else { throw ValidationError("--release needs --prepare COMMAND.") }
            return
        }
        node.targets.standard = TargetCommands(prepare: prepare.words, release: release?.words)
    }
}
