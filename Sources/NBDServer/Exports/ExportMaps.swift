import Block
import BlockModel
import NIOConcurrencyHelpers

/// The maps of an export that clients may read now, by the names of their contexts. Maps may be added and removed
/// while clients are connected; a client keeps those that it has chosen. Any thread may use it.
public final class ExportMaps: Sendable {
    private let maps = NIOLockedValueBox<[String: BlockMarks]>([:])

    /// Creates an empty set of maps.
    public init() {}

    /// Offers a map to new clients under `name`.
    public func show(_ marks: BlockMarks, as name: String) { maps.withLockedValue { $0[name] = marks } }

    /// Stops offering a map to new clients.
    public func remove(_ name: String) { maps.withLockedValue { $0[name] = nil } }

    /// Stops offering a map that is no longer maintained; clients that have chosen it see every block marked.
    public func retire(_ name: String) { maps.withLockedValue { $0.removeValue(forKey: name) }?.retire() }

    /// The names of the maps, sorted, so that every client gets the same context numbers.
    var names: [String] { maps.withLockedValue { $0.keys.sorted() } }

    func find(_ name: String) -> BlockMarks? { maps.withLockedValue { $0[name] } }
}
