/// What a block status can tell of. Protocol text, "Metadata querying".
public struct MetaContext: Hashable, Sendable {
    /// What it is called in replies.
    public let id: UInt32
    /// As clients ask for it.
    public let name: String

    /// Holes and zeros.
    public static let allocation = MetaContext(id: 1, name: "base:allocation")

    /// A context of an export's own.
    /// - Parameter index: from 0, among those of the export.
    public init(map name: String, index: Int) {
        self.init(id: Self.allocation.id + 1 + UInt32(index), name: name)
    }

    private init(id: UInt32, name: String) {
        self.id = id
        self.name = name
    }

    /// All that an export has.
    static func all(of export: ExportDescription) -> [MetaContext] {
        [.allocation] + export.maps.enumerated().map { MetaContext(map: $1, index: $0) }
    }

    /// Whether a client's query means this context.
    /// - Parameter acceptsWildcard: whether the bare namespace stands for all that is in it.
    func matches(_ query: String, acceptsWildcard: Bool) -> Bool {
        if query == name { return true }
        return acceptsWildcard && query.hasSuffix(":") && name.hasPrefix(query)
    }
}
