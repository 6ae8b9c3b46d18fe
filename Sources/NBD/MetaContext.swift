/// A metadata context, about which a block status can tell. Protocol text, "Metadata querying".
public struct MetaContext: Hashable, Sendable {
    /// Identifies the context in replies.
    public let id: UInt32
    /// The name by which clients ask for it.
    public let name: String

    /// The context of holes and zeros.
    public static let allocation = MetaContext(id: 1, name: "base:allocation")

    /// Creates the context of one of an export's maps.
    /// - Parameter index: position among the export's maps, from 0.
    public init(map name: String, index: Int) {
        self.init(id: Self.allocation.id + 1 + UInt32(index), name: name)
    }

    private init(id: UInt32, name: String) {
        self.id = id
        self.name = name
    }

    /// All contexts of an export.
    static func all(of export: ExportDescription) -> [MetaContext] {
        [.allocation] + export.maps.enumerated().map { MetaContext(map: $1, index: $0) }
    }

    /// Whether a client's query selects this context.
    /// - Parameter acceptsWildcard: whether a bare namespace selects all contexts in it.
    func matches(_ query: String, acceptsWildcard: Bool) -> Bool {
        if query == name { return true }
        return acceptsWildcard && query.hasSuffix(":") && name.hasPrefix(query)
    }
}
