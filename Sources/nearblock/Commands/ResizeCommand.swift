import ArgumentParser
import Configuration
import Daemon

/// `nearblock resize`.
struct ResizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resize",
        abstract: "Make an export larger while it is in use.",
        discussion: HelpText.text(
            """
            Clients that connect from now on see the new size; connected ones keep theirs, since NBD has no message for \
            it. A disk is never made smaller, nor resized during a migration.
            """,
            examples: "nearblock resize disk 40G",
            "nearblock resize disk"))

    @Argument(help: "Name of the export.")
    var export: String
    @Argument(
        help: """
            New size in bytes, as in 20G: the export's file is made longer. Without it, the export takes over the size to \
            which its file or device has grown.
            """,
        transform: ByteCount.init)
    var size: ByteCount?
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.resize(export: export, size: size?.bytes))
    }
}
