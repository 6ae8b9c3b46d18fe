import ArgumentParser
import Daemon

/// `nearblock cancel`.
struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Give a migration up; the disk stays where it is.")

    @Argument(help: "The export that is being moved.")
    var export: String
    @Flag(
        help: ArgumentHelp(
            "At the destination: drop a disk that waits for its source's word, though that may have given it away.",
            discussion:
                "Only if the source's node will not come back. Its image there, if it is left, still has the disk."))
    var sourceIsGone = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.cancel(export: export, isSourceGone: sourceIsGone ? true : nil))
    }
}
