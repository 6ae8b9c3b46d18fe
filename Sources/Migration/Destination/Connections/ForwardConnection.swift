import Block
import MigrationCore
import MigrationProtocol
import Peer

/// A connection on which a source forwards its clients' requests for a disk that has arrived, or arrives.
struct ForwardConnection: Sendable {
    let context: DestinationContext
    let hello: Hello
    let connection: PeerConnection

    /// Performs requests until the link ends.
    /// - Throws: if no such disk is known, or the link fails before its first request.
    func run(_ frames: inout PeerFrames) async throws {
        let registry = context.registry
        if hello.isCommitted { try await registry.takeOver(hello.migration) }
        guard await registry.knows(hello.migration) else {
            throw MigrationError.refused("no disk of that migration is here")
        }
        try await connection.send(Message.welcome(Welcome(blockSize: 0, boot: MachineBoot.current)).encoded())
        // Long ones wait until the disk is served here, and this connection is the one that asks for it.
        connection.announceLongFrames()
        let (number, turn) = try await registry.forwarderGreeted(
            hello.migration, connection, isCommitted: hello.isCommitted)
        do {
            try await serve(&frames, number, turn: turn)
        } catch {
            await registry.forwarderNotIdle(hello.migration, number)
            await registry.unregister(number)
            throw error
        }
        await registry.unregister(number)
    }

    private func serve(_ frames: inout PeerFrames, _ number: ArrivalConnection, turn: UInt64) async throws {
        let registry = context.registry
        let reader = ForwardReader(connection: connection, migration: hello.migration, registry: registry)
        async let _: Void = reader.tell(hello.support.capabilities)
        // The link is there before the disk is: the first request is what matters.
        let first = try await reader.next(&frames)
        let disk = await disk(for: first, number, turn: turn)
        await registry.forwarderNotIdle(hello.migration, number)
        guard let first, let disk else { return }
        connection.allowPromptFrames()
        do {
            try await ForwardServer(
                reader: reader, client: context.client(disk), losses: disk.losses,
                budget: context.budgets.budget(of: connection.peer)
            ).run(first, &frames)
        } catch {
            context.logger.debug("forwarding link ended: \(error)")
        }
        await registry.forwarderEnded(of: hello.migration, number)
    }

    /// Waits until the disk is served and no older connection has requests in flight; nil if this connection is not to have
    /// its requests performed.
    private func disk(
        for first: ForwardReader.Arrival?, _ number: ArrivalConnection, turn: UInt64
    ) async -> Disk? {
        guard first != nil, let disk = await context.registry.disk(of: hello.migration, for: connection),
            await context.registry.beginForwarding(hello.migration, number, turn: turn)
        else { return nil }
        return disk
    }
}
