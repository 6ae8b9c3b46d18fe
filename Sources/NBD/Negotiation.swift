/// What a handshake has come to: how the requests that follow are to be read, judged and answered.
public struct Negotiation: Sendable, Equatable {
    /// The export that the client has chosen.
    public let export: ExportDescription
    /// How requests and replies look.
    public let style: HeaderStyle
    /// What a block status tells of; none where the client did not ask in time.
    public let contexts: [MetaContext]

    /// What was agreed on.
    public init(export: ExportDescription, style: HeaderStyle = .simple, contexts: [MetaContext] = []) {
        self.export = export
        self.style = style
        self.contexts = contexts
    }
}
