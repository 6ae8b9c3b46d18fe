/// The part of a `Negotiation` by which requests are judged. It has no references, so that judging a request counts none.
public struct RequestTerms: Sendable {
    let style: HeaderStyle
    let size: UInt64
    let isReadOnly: Bool
    let hasContexts: Bool
}

extension Negotiation {
    /// The terms by which requests are judged.
    public var terms: RequestTerms {
        RequestTerms(style: style, size: export.size, isReadOnly: export.isReadOnly, hasContexts: !contexts.isEmpty)
    }
}
