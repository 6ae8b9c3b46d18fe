import NIOCore

/// The outcome of a `ForwardRequest`.
public struct ForwardAnswer: Sendable, Equatable {
    package var id: UInt64
    /// 0 or a Linux `errno`.
    package var error: Int32
    package var payload: ByteBuffer

    package init(id: UInt64, error: Int32, payload: ByteBuffer) {
        self.id = id
        self.error = error
        self.payload = payload
    }
}
