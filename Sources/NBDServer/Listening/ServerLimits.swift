import NBD

/// Limits of a server's memory and time for each loop and connection (invariant 10).
public enum ServerLimits {
    /// Bytes of request buffers that one loop may use for all its clients; further requests wait. `BufferShare`
    /// divides them.
    static let buffersPerLoop = 128 << 20
    /// Bytes of unused buffers that stay allocated on a loop.
    static let keptBuffersPerLoop = 32 << 20
    /// Connections of one server; further ones are closed at once.
    public static let connections = 4096
    /// Requests of one connection in flight; further ones wait in its socket.
    static let requestsPerConnection = 128
    /// Bytes of request buffers that one connection may hold, except for a single larger request. A client that does
    /// not read its replies can't take the share of others.
    static let buffersPerConnection = 32 << 20
    /// Bytes of the longest request that gets one buffer.
    static let longestWhole = UInt64(buffersPerConnection)
    /// Bytes of the pieces in which a longer request is served.
    static let piece = 8 << 20
    /// Seconds in which a client must move `leastMoved` bytes if it holds buffers that others wait for.
    static let stall = 5
    /// Bytes; less is no progress, so that a client that moves a byte now and then can't keep its buffers.
    static let leastMoved = 64 << 10
    /// Seconds within which a negotiating client must make progress; a client gets up to twice as many
    /// (`HandshakePace`).
    static let handshake = 30
    /// Bytes of a large payload or reply that one operation moves, so that progress shows.
    static let step = 1 << 20
    /// Bytes of incomplete requests that one connection keeps; up to `ReceiveBuffers.length` while they can't be
    /// started.
    static let input = 16 << 10
    /// Bytes of a payload that is likely to arrive whole with its request, in one of the loop's receive buffers.
    static let inlinePayload = 32 << 10
    /// Bytes that one connection may read or write at once before the others of its loop run.
    static let turn = 1 << 20
    /// Bytes of a batch of requests that takes so long that short requests should not wait behind it: about 50 us.
    static let longBatch = 256 << 10
    /// A connection with this many bytes of unsent replies starts no further reads. Data that the client does not take
    /// yet is better left in the page cache.
    static let unsent = 1 << 20
    /// Bytes of small replies of one connection that wait to be sent.
    static let replies = 256 << 10
    /// Extents in one answer to a block status, as many as fit 64 KiB with the header of their chunk. The client asks
    /// again for the rest.
    static let extentsPerReply = 4092
    /// Bytes of the handshake's answers that are queued as one portion.
    static let handshakeStep = 64 << 10
    /// Bytes of the largest read that is copied in between the small replies.
    static let smallRead = 32 << 10
}
