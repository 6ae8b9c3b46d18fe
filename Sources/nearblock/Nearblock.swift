import ArgumentParser
import Foundation
import FreeSpace

/// The command line.
@main
struct Nearblock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nearblock",
        abstract: "An NBD server that moves its disks to other sites while they are in use.",
        discussion: """
            A migration takes blocks from images that the destination already has; only the rest \
            crosses the link.
            """,
        version: "0.1.0",
        subcommands: [
            ServeCommand.self, IndexCommand.self, MigrateDiskCommand.self, MemoryMoveCommand.self, StatusCommand.self,
            SwitchCommand.self, CancelCommand.self,
            RateCommand.self, CheckpointCommand.self, RecordCommand.self,
        ])

    static func main() async {
        // Ahead of everything that it does not need.
        if CommandLine.arguments.dropFirst() == [FreeSpaceProgram.argument] { Foundation.exit(FreeSpaceProgram.run()) }
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

    /// Prints one line on standard error. Exits with 2 for a usage error, and 1 for a failed command.
    private static func end(_ error: any Error) -> Never {
        // Pass on the exit status of the command of `--run` unchanged.
        if let status = error as? ExitCode { Foundation.exit(status.rawValue) }
        switch exitCode(for: error) {
        case .success:
            exit(withError: error)
        case .validationFailure:
            let reason = message(for: error).split(separator: "\n").first.map(String.init) ?? "usage"
            Terminal.report("\(reason) (see nearblock --help)")
            Foundation.exit(2)
        default:
            Terminal.report(String(describing: error), isError: true)
            Foundation.exit(1)
        }
    }
}
