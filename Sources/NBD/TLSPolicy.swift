/// A server's policy on encryption. Protocol text, "TLS support".
public enum TLSPolicy: Sendable {
    /// The server has no TLS.
    case off
    /// The client chooses.
    case optional
    /// A client without TLS is told and served nothing.
    case required
}
