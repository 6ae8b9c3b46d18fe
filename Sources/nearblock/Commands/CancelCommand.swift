import ArgumentParser
import Node

/// `nearblock cancel`.
struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Give a migration up; the disk stays where it is.")

    @Argument(help: "The export that is being moved.")
    var export: String
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.cancel(export: export))
    }
}
