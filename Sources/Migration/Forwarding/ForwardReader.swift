import Logging
import MigrationProtocol
import NIOCore
import Peer

/// Reads what a `ForwardLink` sends: requests, and introductions, which it passes on itself.
struct ForwardReader: Sendable {
    /// A frame that has come.
    enum Arrival: Sendable {
        case request(ForwardRequest)
        /// The announcement of a long frame of so many bytes, which comes once it is let in.
        case announced(Int)
    }

    let connection: PeerConnection
    let migration: MigrationID
    let registry: IncomingDiskRegistry

    /// The next request; nil if the link ends.
    /// - Throws: if another message comes.
    func next(
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws -> Arrival? {
        while let frame = try await frames.next() {
            if frame.readableBytes == 0 { return .announced(connection.waitingFrame) }
            switch try Message(frame: frame) {
            case .request(let request): return .request(request)
            case .introduce(let migrations): try await introduce(migrations)
            default: throw MigrationError.unexpected("no request")
            }
        }
        return nil
    }

    private func introduce(_ migrations: [MigrationID]) async throws {
        do {
            try await registry.introduced(migrations, by: migration)
        } catch {
            // Requests go on; nodes that forward to the source stay with it.
            return registry.logger.notice("nodes that forward to another are not let in here: \(error.plainReason)")
        }
        try await connection.send(Message.introduced.encoded())
    }

    /// Tells the link of each node that the disk moves on to, until the task is cancelled.
    func tell(_ capabilities: ProtocolSupport.Capabilities) async {
        guard capabilities.contains(.successors) else { return }
        let (listener, successors) = await registry.successors(of: migration)
        for await successor in successors {
            do { try await connection.send(Message.successor(successor).encoded()) } catch { break }
        }
        await registry.endSuccessors(listener)
    }
}
