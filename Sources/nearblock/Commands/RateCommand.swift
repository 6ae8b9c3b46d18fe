import ArgumentParser
import Configuration
import Daemon

/// `nearblock rate`.
struct RateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rate", abstract: "Change the rate limit of a running migration.",
        discussion: HelpText.text(

            examples: "nearblock rate web 100M", "nearblock rate web"))

    @Argument(help: "Export that is being migrated.", completion: ExportNames.completion)
    var export: String
    @Argument(help: "Bits a second, as in 100M (default: no limit).", transform: BitRate.init)
    var rate: BitRate?
    @OptionGroup var node: ControlOption

    func run() async throws {
        _ = try await node.ask(.rate(export: export, bitsPerSecond: rate?.bitsPerSecond))
    }
}
