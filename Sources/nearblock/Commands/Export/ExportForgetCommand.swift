import ArgumentParser
import Daemon

/// `nearblock export forget`.
struct ExportForgetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "End the export of a disk that came by migration; its image stays.",
        discussion: HelpText.text(
            """
            Works once all of the disk is here, no client is connected, and no other node forwards clients here. A node \
            that still forwards its clients here later finds no disk.
            """,
            examples: "nearblock export forget disk",
            "nearblock export forget disk --control /run/b.sock"))

    @Argument(help: "Export that came by migration.")
    var export: String
    @OptionGroup var node: ControlOption

    func run() async throws {
        guard case .forgotten(let image) = try await node.ask(.forget(export: export)) else { return }
        print(PlainText.line("\(export) is no longer offered; its image stays at \(image), and may be removed"))
    }
}
