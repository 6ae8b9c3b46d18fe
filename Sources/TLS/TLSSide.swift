/// The end of a connection that a context is for.
public enum TLSSide: String, Sendable {
    /// The side that accepted the connection.
    case server
    /// The side that opened the connection.
    case client
}
