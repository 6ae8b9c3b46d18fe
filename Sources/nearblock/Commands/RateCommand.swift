import ArgumentParser
import Configuration
import Daemon

/// `nearblock rate`.
struct RateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rate", abstract: "Change the limit of a migration while it runs.")

    @Argument(help: "The export that is being moved.")
    var export: String
    @Argument(help: "Bits a second, as in 100M; without it there is no limit.", transform: BitRate.init)
    var rate: BitRate?
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.rate(export: export, bitsPerSecond: rate?.bitsPerSecond))
    }
}
