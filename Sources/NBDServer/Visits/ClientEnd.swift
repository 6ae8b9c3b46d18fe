/// Reasons for the end of a client's connection.
public enum ClientEnd: String, CaseIterable, Sendable {
    /// The client has said that it ends.
    case disconnected
    /// The client has closed its end without saying so.
    case closed
    /// The connection is broken.
    case lost
    /// The client breaks the protocol, or TLS has failed.
    case malformed
    /// The client has moved no bytes while others waited for it, or has not finished its handshake.
    case stalled
    /// An error came too late for a reply that had begun.
    case failedReply = "failed-reply"
    /// The server ends, or the client has come back over another connection.
    case drained
}
