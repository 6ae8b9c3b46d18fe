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
            that still forwards its clients here later finds no disk. Where the image of a record is gone, forget \
            removes the record.
            """,
            examples: "nearblock export forget disk",
            "nearblock export forget disk --control /run/b.sock"))

    @Argument(help: "Export that came by migration, or of a record whose image is gone; or that image's path.")
    var export: String
    @OptionGroup var node: ControlOption

    func run() async throws {
        guard case .forgotten(let image, let remaining, let removed) = try await node.ask(.forget(export: export))
        else {
            return
        }
        if let removed {
            return print(
                PlainText.line("\(image) is gone, and so are its records now: \(removed.joined(separator: ", "))"))
        }
        print(PlainText.line("\(export) is no longer offered; its image stays at \(image), and may be removed"))
        guard let remaining else { return }
        print(
            PlainText.line(
                "\(remaining.joined(separator: ", ")) stays, so that the image is not served as if it had not moved; once "
                    + "the image is removed: nearblock export forget \(export)"))
    }
}
