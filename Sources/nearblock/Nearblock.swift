import ArgumentParser
import Foundation
import FreeSpace
import MigrationProtocol
import Peer

/// The command line.
@main
struct Nearblock: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nearblock",
        abstract: "An NBD server that moves its disks to other sites while they are in use.",
        discussion: HelpText.text(
            "A migration takes blocks from images that the destination already has; only the rest crosses the link.",
            examples: "nearblock serve disk.raw --socket /run/disk.sock", "nearblock migrate disk.raw --to host:7000"),
        version: Release.version,
        subcommands: [
            ServeCommand.self, IndexCommand.self, SiteCommand.self, MigrateDiskCommand.self, MemoryMoveCommand.self,
            StatusCommand.self,
            WaitCommand.self, SwitchCommand.self, CancelCommand.self,
            RateCommand.self, ResizeCommand.self, TrimCommand.self, CheckpointCommand.self, ExportCommand.self,
            RecordCommand.self,
            CheckCommand.self, ReloadCommand.self, CertificatesCommand.self, DoctorCommand.self,
        ])

    static func main() async {
        // Ahead of everything that it does not need.
        if let status = FreeSpaceProgram.run(CommandLine.arguments.dropFirst()) { Foundation.exit(status) }
        signal(SIGPIPE, SIG_IGN)
        do {
            if let problem = UnknownCommand.problem(in: Array(CommandLine.arguments.dropFirst())) {
                throw ValidationError(problem)
            }
            var command = try await asyncParseAsRoot()
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
            let arguments = Array(CommandLine.arguments.dropFirst())
            // Options of a command that is not there are not to blame.
            let reason =
                UnknownCommand.problem(in: arguments) ?? UnknownOption.problem(in: arguments)
                ?? message(for: error).split(separator: "\n").first.map(String.init) ?? "usage"
            Terminal.report("\(reason) (see nearblock --help)")
            Foundation.exit(2)
        default:
            Terminal.report(error.plainReason, isError: true)
            Foundation.exit(((error as? CommandFailure)?.status ?? .failed).rawValue)
        }
    }
}
