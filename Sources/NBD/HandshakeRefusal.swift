/// Reasons why a client does not get what it asks for in the handshake.
public enum HandshakeRefusal: String, CaseIterable, Sendable {
    /// There is no export of that name.
    case unknownExport = "unknown-export"
    /// The export's image can't be opened now.
    case unavailable
    /// The server or the export requires TLS.
    case needsTLS = "needs-tls"
    /// The export has its maximum of clients.
    case full
    /// The client breaks the protocol.
    case malformed
}
