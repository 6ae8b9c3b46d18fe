/// What a block status can tell of. Protocol text, "Metadata querying".
public enum MetaContext: UInt32, CaseIterable, Sendable {
    /// Holes and zeros.
    case allocation = 1

    /// As clients ask for it.
    public var name: String {
        switch self {
        case .allocation: "base:allocation"
        }
    }

    /// Whether a client's query means this context.
    /// - Parameter acceptsWildcard: whether the bare namespace stands for all that is in it.
    func matches(_ query: String, acceptsWildcard: Bool) -> Bool {
        if query == name { return true }
        return acceptsWildcard && query.hasSuffix(":") && name.hasPrefix(query)
    }
}
