import Block
import BlockModel
import NIOConcurrencyHelpers

/// The maps of an export that a client may look at now, by the names of their contexts. They may come and go while
/// clients are connected; a client keeps those that it has chosen.
public final class ExportMaps: Sendable {
    private let maps = NIOLockedValueBox<[String: BlockMarks]>([:])

    /// No maps.
    public init() {}

    /// Shows a map under that name from now on.
    public func show(_ marks: BlockMarks, as name: String) { maps.withLockedValue { $0[name] = marks } }

    /// Shows it no longer to those who come.
    public func remove(_ name: String) { maps.withLockedValue { $0[name] = nil } }

    /// Likewise, and those who have chosen it see every block marked: the map is not kept any more.
    public func retire(_ name: String) { maps.withLockedValue { $0.removeValue(forKey: name) }?.retire() }

    /// The names, in an order that depends on nothing else.
    var names: [String] { maps.withLockedValue { $0.keys.sorted() } }

    func find(_ name: String) -> BlockMarks? { maps.withLockedValue { $0[name] } }
}
