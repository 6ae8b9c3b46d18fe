import NIOCore

/// The answer to an `ArrivalRead`.
public struct ArrivalBytes: Sendable, Equatable {
    package var id: UInt32
    /// Whether each block is among the bytes.
    package var has: [Bool]
    /// Those blocks, one behind the other; the reader hashes them.
    package var payload: ByteBuffer

    package init(id: UInt32, has: [Bool], payload: ByteBuffer) {
        precondition(payload.readableBytes <= ArrivalRead.maximumBytes)
        self.id = id
        self.has = has
        self.payload = payload
    }
}
