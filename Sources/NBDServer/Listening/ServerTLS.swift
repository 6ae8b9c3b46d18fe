import NBD
import TLS

/// The encryption of a server's connections.
public struct ServerTLS: Sendable {
    /// The server's certificate or keys.
    public let context: TLSContext
    let policy: TLSPolicy

    /// Creates a configuration.
    /// - Parameters:
    ///   - context: the server's certificate or keys.
    ///   - isRequired: whether clients that do not encrypt are told and served nothing.
    public init(context: TLSContext, isRequired: Bool) {
        self.context = context
        policy = isRequired ? .required : .optional
    }
}
