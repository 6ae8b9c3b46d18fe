/// One operation in flight on a ring: the completion carries this struct's address back.
///
/// Whoever submits keeps the memory in place until the handler has been called. It stands first in larger structs
/// (`BlockRequest`), so that the handler can recover the whole from the address.
public struct RingOperation {
    /// Who is told; not retained, so it must outlive the operation.
    public let handler: Unmanaged<RingHandler>

    /// The number of the buffer that holds what was received, where the kernel chose one; otherwise -1.
    public internal(set) var selectedBuffer = -1

    /// An operation that completes to `handler`.
    public init(handler: RingHandler) {
        self.handler = Unmanaged.passUnretained(handler)
    }
}
