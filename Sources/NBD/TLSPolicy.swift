/// Whether clients may, or must, encrypt. Protocol text, "TLS support".
public enum TLSPolicy: Sendable {
    /// There is no TLS.
    case off
    /// It is the client's choice.
    case optional
    /// Nothing is told or served without it.
    case required
}
