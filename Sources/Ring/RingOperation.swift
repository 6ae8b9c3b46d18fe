/// One operation in flight on a ring; its completion carries the address of this struct.
///
/// The submitter keeps the memory in place until the handler has been called. The struct stands first in larger ones
/// (`BlockRequest`), so that the handler can recover the whole from the address.
public struct RingOperation {
    /// The handler of the completion. It is not retained, so it must outlive the operation.
    public let handler: Unmanaged<RingHandler>

    /// The number of the receive buffer that the kernel chose; -1 if the operation did not let it choose.
    public internal(set) var selectedBuffer = -1

    /// Creates an operation that completes to `handler`.
    public init(handler: RingHandler) {
        self.handler = Unmanaged.passUnretained(handler)
    }
}
