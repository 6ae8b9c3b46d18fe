import ArgumentParser
import Daemon

/// `nearblock checkpoint`.
struct CheckpointCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Start a new incremental backup of an export that is served with --dirty-bitmap NAME.",
        discussion: HelpText.text(
            """
            New clients then see under qemu:dirty-bitmap:NAME which blocks were written between the \
            last checkpoint and this one; that stays fixed until the next one. After a start of the node, \
            the first checkpoint shows all blocks.
            """,
            examples: "nearblock checkpoint web", "nearblock checkpoint web --failed"))

    @Argument(help: "Name of the export.", completion: ExportNames.completion)
    var export: String
    @Flag(help: "The backup of the last checkpoint failed: show its blocks again with the next one.")
    var failed = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.checkpoint(export: export, hasFailed: failed))
    }
}
