import ArgumentParser
import Daemon

/// `nearblock cancel`.
struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel a migration; the disk stays where it is.",
        discussion: HelpText.text(

            examples: "nearblock cancel web", "nearblock cancel web --source-is-gone"))

    @Argument(help: "Export that is being migrated.", completion: ExportNames.completion)
    var export: String
    @Flag(
        help: ArgumentHelp(
            "At the destination: drop a disk that waits for its source, although the source may have committed the switchover.",
            discussion:
                "Use it only if the source's node will not come back. The source's image, if it exists, still has the disk."
        ))
    var sourceIsGone = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.cancel(export: export, isSourceGone: sourceIsGone ? true : nil))
    }
}
