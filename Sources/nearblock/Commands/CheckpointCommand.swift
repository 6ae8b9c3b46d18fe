import ArgumentParser
import Daemon

/// `nearblock checkpoint`.
struct CheckpointCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Begin a new incremental backup of an export that is served with --dirty-bitmap NAME.",
        discussion: """
            From then on clients that connect see under qemu:dirty-bitmap:NAME which blocks were written between the \
            last checkpoint and this one, and that does not change while they copy them. After the node has started, \
            the first checkpoint shows everything.
            """)

    @Argument(help: "The export.")
    var export: String
    @Flag(help: "The backup of the last checkpoint has failed: the next one is to show that again.")
    var failed = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.checkpoint(export: export, hasFailed: failed))
    }
}
