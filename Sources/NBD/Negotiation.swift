/// The result of a handshake: it determines how requests are parsed, judged and answered.
public struct Negotiation: Sendable, Equatable {
    /// The export that the client chose.
    public let export: ExportDescription
    /// The form of requests and replies.
    public let style: HeaderStyle
    /// The contexts that a block status tells about; empty if the client has chosen none.
    public let contexts: [MetaContext]

    /// Creates a result.
    public init(export: ExportDescription, style: HeaderStyle = .simple, contexts: [MetaContext] = []) {
        self.export = export
        self.style = style
        self.contexts = contexts
    }
}
