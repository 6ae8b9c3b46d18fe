import Block
import BlockModel
import Logging
import MigrationCore
import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// One connection of a channel, for as long as it lasts.
extension PostCopySourceLink {
    /// zstd's: somebody waits, or soon may, for what goes over these connections.
    private static let level: Int32 = 3

    func serve(_ kind: PostCopyChannel, _ connection: PeerConnection) async throws {
        let isCommitted = state.withLockedValue { state in
            state.connections[kind] = connection
            state.machine.channelUp(kind)
            return state.machine.isCommitted
        }
        // Bulk that makes way may wait for the end of the connection too.
        connection.whenClosed { [state] in state.recheck() }
        let hello = Hello(
            purpose: kind.purpose, migration: parts.migration, isCommitted: isCommitted, export: parts.export)
        var frames = connection.inbound.makeAsyncIterator()
        let welcome = try await connection.greet(hello, &frames)
        if kind == .bulk { try await connection.keepBacklogSmall() }
        let server = try server(
            kind, connection, namesFree: welcome.support.capabilities.contains(.freeBlocks))
        while let frame = try await frames.next() {
            let message = try Message(frame: frame)
            let actions = try state.withLockedValue { try $0.machine.receive(message, on: kind, at: .now) }
            for action in actions { try await perform(action, connection, server) }
            ask { $0.answered(on: kind) }
        }
    }

    private func server(
        _ kind: PostCopyChannel, _ connection: PeerConnection, namesFree: Bool
    ) throws -> PostCopyBlockServer {
        PostCopyBlockServer(
            connection: connection, image: parts.image, geometry: parts.geometry,
            pool: kind == .demand ? parts.pools.urgent : parts.pools.background,
            sender: try BlockSender(
                image: parts.image, geometry: parts.geometry, manifest: nil, pace: CompressionPace(level: Self.level),
                windowLog: kind == .demand ? ZstdParameters.demandWindowLog : ZstdParameters.windowLog),
            scratch: parts.records.directory.scratch, reads: parts.reads,
            free: namesFree ? parts.free : nil,
            // One channel may use it; the root is asked over `bulk`.
            agreed: { [self] in kind == .bulk ? state.withLockedValue { $0.agreed } : nil },
            beforeSending: { [self] in
                if kind == .bulk { try await makeWay(for: $1, connection) }
                count($0, $1)
            })
    }

    private func perform(
        _ action: PostCopySourceMachine.Action, _ connection: PeerConnection, _ server: PostCopyBlockServer
    ) async throws {
        switch action {
        case .recordRelease(let ledger):
            try parts.records.release(parts.migration)
            for next in ask({ $0.released(ledger) }) { try await perform(next, connection, server) }
        case .reportRelease:
            parts.logger.info("\(parts.export) is at \(parts.destination) whole; the image here is not needed")
        case .sayReleased:
            state.withLockedValue { $0.agreed = nil }
            // The destination closes the connection once it has heard.
            try await connection.send(Message.postcopy(.released).encoded())
        default: try await server.answer(action)
        }
    }

    private func count(_ message: Message, _ frameLength: Int) {
        let bytes = UInt64(frameLength)
        var free: UInt64 = 0
        if case .data(let segment) = message {
            free = parts.free?.bytes(in: segment.runs) ?? 0
            parts.blockMap?.record(sent: segment.runs)
        }
        state.withLockedValue { state in
            state.freeSent += free
            if case .data = message { state.wire.data += bytes } else { state.wire.fingerprints += bytes }
        }
    }

    /// Bulk waits while somebody waits for a demand of this disk, goes by `BulkPace` for a while after one, and keeps to the
    /// limit.
    private func makeWay(for count: Int, _ connection: PeerConnection) async throws {
        if ask({ $0.isPathDue(at: .now) }), let path = await connection.path(),
            let change = ask({ $0.pathSeen(path, at: .now) })
        {
            await connection.limitPace(bytesPerSecond: change.bytesPerSecond)
        }
        try await state.waitUnlessCancelled { !$0.machine.mustBulkWait || !connection.isOpen }
        guard connection.isOpen else { throw PeerError.cut }
        try await parts.rate.wait(for: count) { connection.isOpen }
    }
}
