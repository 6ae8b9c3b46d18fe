import Logging
import MigrationProtocol
import NIOCore
import Peer

/// Reads what a `ForwardLink` sends: requests, and introductions, which it passes on itself.
struct ForwardReader: Sendable {
    /// What has come.
    enum Arrival: Sendable {
        case request(ForwardRequest)
        /// A long frame of so many bytes, which comes when it is let in.
        case announced(Int)
    }

    let connection: PeerConnection
    let migration: MigrationID
    let site: DestinationSite

    /// The next request; nil where the link ends.
    /// - Throws: where it sends something else.
    func next(
        _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws -> Arrival? {
        while let frame = try await frames.next() {
            if frame.readableBytes == 0 { return .announced(connection.waitingFrame) }
            switch try Message(frame: frame) {
            case .request(let request): return .request(request)
            case .introduce(let migrations): try await note(migrations)
            default: throw MigrationError.unexpected("no request")
            }
        }
        return nil
    }

    private func note(_ migrations: [MigrationID]) async throws {
        do {
            try await site.introduced(migrations, by: migration)
        } catch {
            // Requests go on; those who forward to that node stay with it.
            return site.logger.notice("nodes that forward to another are not let in here: \(error)")
        }
        try await connection.send(Message.introduced.encoded())
    }

    /// Tells the link of each node that the disk moves on to, until the task is cancelled.
    func tell(_ capabilities: ProtocolSupport.Capabilities) async {
        guard capabilities.contains(.successors) else { return }
        let (listener, successors) = await site.successors(of: migration)
        for await successor in successors {
            do { try await connection.send(Message.successor(successor).encoded()) } catch { break }
        }
        await site.endSuccessors(listener)
    }
}
