/// The end of a connection that a context is for.
public enum TLSSide: String, Sendable {
    /// It was connected to.
    case server
    /// It has connected.
    case client
}
