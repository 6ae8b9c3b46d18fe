import NBD

/// What bounds a server's memory (invariant 10).
public enum ServerLimits {
    /// Bytes of request buffers that one loop may have out for all its clients; further requests wait in line. `BufferShare`
    /// divides them.
    static let buffersPerLoop = 128 << 20
    /// Bytes of buffers that a loop keeps while nobody needs them.
    static let keptBuffersPerLoop = 32 << 20
    /// Connections of one server; further ones are closed at once.
    public static let connections = 4096
    /// Requests of one connection that are worked on at once; further ones wait in its socket.
    static let requestsPerConnection = 128
    /// Bytes of request buffers that one connection may hold, unless it is a single request: a client that does not
    /// read its replies must not take the others' share.
    static let buffersPerConnection = 32 << 20
    /// Bytes of the longest request that has one buffer.
    static let longestWhole = UInt64(buffersPerConnection)
    /// Bytes of the pieces in which a longer request moves.
    static let piece = 8 << 20
    /// Seconds in which a client that holds buffers must take or send `leastMoved` bytes while others wait for buffers.
    static let stall = 5
    /// Bytes; a client that takes one now and then must not hold its buffers for ever.
    static let leastMoved = 64 << 10
    /// Seconds that a client has at least, and twice as many at most, to choose an export.
    static let handshake = 30
    /// Bytes of a large payload or reply that move in one step, so that it shows whether they move.
    static let step = 1 << 20
    /// Bytes of requests that one connection keeps while they are not whole; and at most `ReceiveBuffers.length` while
    /// they can't be begun.
    static let input = 16 << 10
    /// Bytes of a payload that is likely to come whole with its request, in one of the loop's receive buffers.
    static let inlinePayload = 32 << 10
    /// Bytes that one connection may read or write at once before the others of its loop have their turn.
    static let turn = 1 << 20
    /// Bytes of a connection's replies that may wait to be sent before no further reads are begun: what the client does
    /// not take yet is better left in the page cache.
    static let unsent = 1 << 20
    /// Bytes of small replies of one connection that wait to be sent.
    static let replies = 256 << 10
    /// Extents of one answer to a block status; the client asks again for what is behind them. As many as fit 64 KiB with
    /// the header of their chunk.
    static let extentsPerReply = 4092
    /// Bytes of the handshake's answers that are put into the line of replies at once.
    static let handshakeStep = 64 << 10
    /// Reads up to this many bytes are copied in between the small replies.
    static let smallRead = 32 << 10
}
