import ArgumentParser
import Daemon

/// Option that selects a node.
struct ControlOption: ParsableArguments {
    @Option(help: ArgumentHelp("Control socket of the node.", valueName: "path"), completion: .file())
    var control = DefaultPaths.control

    /// Sends a request to the node and returns its reply.
    /// - Throws: `CommandFailure` with the node's message if the node refuses; `ControlError`.
    func ask(
        _ request: ControlRequest, progress: (@Sendable (ControlReply) -> Void)? = nil
    ) async throws -> ControlReply {
        // Another user could have put a socket at the default path.
        if control == DefaultPaths.control { try ControlDirectory.secure(for: control) }
        let reply = try await ControlClient.ask(request, at: control, progress: progress)
        if case .failed(let reason, let kind) = reply {
            throw CommandFailure(reason: reason, status: ExitStatus(of: kind))
        }
        return reply
    }

    /// Sends a request whose reply comes at the end of a migration.
    /// - Throws: As `ask`; `CommandFailure` with its own exit status if the node ends first.
    func follow(
        _ request: ControlRequest, progress: (@Sendable (ControlReply) -> Void)? = nil
    ) async throws -> ControlReply {
        do {
            return try await ask(request, progress: progress)
        } catch ControlError.ended {
            throw CommandFailure(
                reason: "\(ControlError.ended); a migration that it had begun goes on when it is started again",
                status: .unfinished)
        }
    }
}
