/// An object on a loop that is called for completions, ends of batches and free buffers, on the loop's thread.
///
/// It is a class and not a protocol: an event costs one virtual call and no existential.
open class RingHandler {
    /// Creates a handler.
    public init() {}

    /// The operation has ended; the ring no longer holds its address or its buffers.
    /// - Parameters:
    ///   - operation: the operation that was submitted.
    ///   - result: bytes done or 0, or a negated `errno`, as the system call of that name would return.
    open func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        preconditionFailure("a handler that submits operations must override completed(_:result:)")
    }

    /// All completions at hand are handled; called once for each `EventLoop.atBatchEnd`.
    open func batchEnded() {}

    /// It is this handler's turn again; called once for each `EventLoop.atNextTurn`.
    open func turnCame() {}

    /// The pool that this handler waits for may have room; called while the handler is first in line.
    /// - Returns: whether the handler leaves the line, because it has its buffer or wants none any more.
    open func bufferMayBeAvailable() -> Bool { true }
}
