import MigrationProtocol
import Peer

/// A connection that carries one of the two channels of post-copy.
struct ChannelConnection: Sendable {
    let context: DestinationContext
    let kind: PostCopyChannel
    let hello: Hello
    let connection: PeerConnection

    /// Carries the channel until the link ends.
    /// - Throws: if no such disk is known; if the link fails, or the source sends what can't stand there.
    func run(_ frames: inout PeerFrames) async throws {
        if hello.isCommitted { try await context.registry.takeOver(hello.migration) }
        guard let channels = await context.registry.channels(of: hello.migration) else {
            throw MigrationError.refused("no disk of that migration is here")
        }
        try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
        do {
            try await channels.run(
                kind, connection, hello.support.capabilities, budget: context.budgets.budget(of: connection.peer),
                &frames)
        } catch {
            if !DestinationContext.isCut(error), channels.note(problem: error.plainReason) {
                context.logger.warning("the rest of \(hello.export): \(error.plainReason); the source will try again")
            }
            throw error
        }
    }
}
