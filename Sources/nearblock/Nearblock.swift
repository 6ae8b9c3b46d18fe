import ArgumentParser
import Foundation

/// The command line.
@main
struct Nearblock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nearblock",
        abstract: "An NBD server that moves its disks to other sites while they are in use.",
        discussion: """
            A disk that moves takes from the destination's other images whatever they already hold; only the rest \
            crosses the link.
            """,
        version: "0.1.0",
        subcommands: [
            ServeCommand.self, IndexCommand.self, MigrateDiskCommand.self, StatusCommand.self,
            SwitchCommand.self, CancelCommand.self,
            RateCommand.self, CheckpointCommand.self, RecordCommand.self,
        ])

    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            end(error)
        }
    }

    /// One line on standard error, and status 2 for a command that makes no sense, 1 for one that failed.
    private static func end(_ error: any Error) -> Never {
        // A command's own status stays what it is, whatever it would mean as one of ours.
        if let status = error as? ExitCode { Foundation.exit(status.rawValue) }
        switch exitCode(for: error) {
        case .success:
            exit(withError: error)
        case .validationFailure:
            let reason = message(for: error).split(separator: "\n").first.map(String.init) ?? "usage"
            Terminal.report("\(reason) (see nearblock --help)")
            Foundation.exit(2)
        default:
            Terminal.report(String(describing: error))
            Foundation.exit(1)
        }
    }
}
