import NIOCore
import Peer

@testable import Migration
@testable import MigrationProtocol

extension NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator {
    /// What the peer says next.
    /// - Throws: where it says nothing more, or nothing that is understood.
    mutating func nextMessage() async throws -> Message {
        guard let frame = try await next() else { throw PeerError.cut }
        return try Message(frame: frame)
    }
}
