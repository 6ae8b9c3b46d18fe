/// The move that a session should make. It is tried at the ends of batches until it becomes too old to be of use.
struct SessionMove {
    /// The loop to which the session moves.
    unowned(unsafe) let target: SessionLoop
    /// Nanoseconds of the monotonic clock; the session stays if it has not moved by then.
    let deadline: UInt64
    /// Whether it leaves because its loop is busy.
    var isSpread = false
}
