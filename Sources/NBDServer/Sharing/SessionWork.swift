/// The work that a session has done, as numbers that only grow until they wrap.
struct SessionWork: Equatable {
    /// Bytes sent and received.
    var bytes = 0
    /// Receives that brought bytes: about as many batches of requests.
    var receives = 0
    /// Requests that were taken off the input.
    var requests = 0

    /// The work since `earlier`.
    func since(_ earlier: SessionWork) -> SessionWork {
        SessionWork(
            bytes: bytes &- earlier.bytes, receives: receives &- earlier.receives,
            requests: requests &- earlier.requests)
    }

    /// Whether the client mostly sends several requests before it waits for replies.
    var isPipelined: Bool { requests > receives &+ receives / 4 }

    /// Whether its batches take so long that short requests of others should not wait for them.
    var isLong: Bool { receives > 0 && bytes / receives >= ServerLimits.longBatch }
}
