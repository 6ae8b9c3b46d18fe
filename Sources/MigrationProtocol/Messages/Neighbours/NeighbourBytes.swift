import NIOCore

/// The answer to a `NeighbourRead`.
public struct NeighbourBytes: Sendable, Equatable {
    package var id: UInt32
    /// The bytes, fewer than were asked for at the end of the image; empty if the host does not have them.
    package var payload: ByteBuffer

    package init(id: UInt32, payload: ByteBuffer) {
        precondition(payload.readableBytes <= NeighbourRead.maximumLength)
        self.id = id
        self.payload = payload
    }
}
