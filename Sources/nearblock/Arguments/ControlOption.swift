import ArgumentParser
import Daemon

/// Which node a command is for.
struct ControlOption: ParsableArguments {
    @Option(help: ArgumentHelp("The node's control socket.", valueName: "path"))
    var control = DefaultPaths.control

    /// Asks the node.
    /// - Throws: what the node says where it can't.
    func ask(
        _ request: ControlRequest, progress: (@Sendable (ControlReply) -> Void)? = nil
    ) async throws -> ControlReply {
        // Another user could answer there.
        if control == DefaultPaths.control { try ControlDirectory.secure(for: control) }
        let reply = try await ControlClient.ask(request, at: control, progress: progress)
        if case .failed(let reason) = reply { throw CommandFailure(reason: reason) }
        return reply
    }
}
