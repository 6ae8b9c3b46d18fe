import ArgumentParser
import Daemon

/// `nearblock switch`.
struct SwitchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switch",
        abstract: "Hand a disk that is being moved over now; what is not at the destination by then follows afterwards."
    )

    @Argument(help: "The export that is being moved.")
    var export: String
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.switchOver(export: export))
    }
}
