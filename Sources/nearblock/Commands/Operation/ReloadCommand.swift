import ArgumentParser
import Daemon

/// `nearblock reload`.
struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Have a node read its configuration, certificates and keys again.",
        discussion: HelpText.text(
            """
            Says what has changed. Exits with 1 if the configuration stays as it was, or an export of it can't be served. \
            SIGHUP does the same, and answers in the log only.
            """,
            examples: "nearblock reload",
            "nearblock reload --control /run/nearblock/control.sock"))

    @OptionGroup var node: ControlOption

    func run() async throws {
        guard case .reloaded(let report) = try await node.ask(.reload) else { return }
        for note in report.notes { print(PlainText.line(note)) }
        print("the configuration was reloaded")
        guard report.problems.isEmpty else {
            throw CommandFailure(reason: report.problems.map { PlainText.line($0) }.joined(separator: "; "))
        }
    }
}
