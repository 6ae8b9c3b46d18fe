import ArgumentParser
import Daemon

/// `nearblock switch`.
struct SwitchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switch",
        abstract: "Start the switchover of a migration now; missing blocks follow by post-copy.",
        discussion: HelpText.text(

            examples: "nearblock switch web", "nearblock switch web --control /run/nearblock/control.sock")
    )

    @Argument(help: "Export that is being migrated.", completion: ExportNames.completion)
    var export: String
    @Flag(help: "Return once the destination has the disk, or fail with the exit status of nearblock wait.")
    var wait = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.switchOver(export: export))
        if wait { _ = try await node.follow(.wait(export: export, isSwitchEnough: true)) }
    }
}
