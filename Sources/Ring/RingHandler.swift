/// What runs on a loop: told of completions, ends of batches and free buffers, on the loop's thread.
///
/// A class and not a protocol: one virtual call an event, no existential.
open class RingHandler {
    /// Nothing to set up.
    public init() {}

    /// The operation has ended; the ring no longer holds its address or its buffers.
    /// - Parameters:
    ///   - operation: what was submitted.
    ///   - result: bytes done or 0, or a negated `errno`, as the system call of that name would say.
    open func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        preconditionFailure("a handler that submits operations must say what it does with completions")
    }

    /// All completions at hand have been handled; called once for each `EventLoop.atBatchEnd`.
    open func batchEnded() {}

    /// It is this handler's turn again; called once for each `EventLoop.atNextTurn`.
    open func turnCame() {}

    /// There may be room in the pool that this handler waits for; called when it is first in line.
    /// - Returns: whether it has what it wanted, or wants nothing more, and leaves the line.
    open func bufferMayBeAvailable() -> Bool { true }
}
