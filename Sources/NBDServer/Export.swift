import Block
import NBD
import NIOConcurrencyHelpers

/// A named disk that clients may open.
public final class Export: Sendable {
    /// What clients are told, but for the maps.
    public let description: ExportDescription
    /// What they may look at.
    public let maps: ExportMaps
    /// Where their requests go.
    public let disk: Disk
    /// Every write is durable before it is acknowledged, as if each had the FUA flag.
    let isSynchronous: Bool
    /// Asked before a client is told of the export; nil where nothing changes behind it.
    public var watcher: (any ExportWatcher)? { watching.withLockedValue { $0 } }
    private let watching = NIOLockedValueBox<(any ExportWatcher)?>(nil)

    /// An export of `disk` under `name`.
    /// - Parameters:
    ///   - isRotational: whether clients should spare it seeks.
    ///   - text: for people; empty where there is nothing to say.
    ///   - isSynchronous: whether every write is durable before it is acknowledged.
    ///   - maps: what clients may look at.
    public init(
        name: String, disk: Disk, isReadOnly: Bool, isRotational: Bool = false, text: String = "",
        isSynchronous: Bool = false, maps: ExportMaps = ExportMaps()
    ) {
        self.maps = maps
        self.isSynchronous = isSynchronous
        description = ExportDescription(
            name: name, size: disk.size, isReadOnly: isReadOnly, isRotational: isRotational, text: text)
        self.disk = disk
    }

    /// Has every new client wait until `watcher` has looked.
    public func watch(with watcher: any ExportWatcher) { watching.withLockedValue { $0 = watcher } }

    /// What clients are told at this moment.
    var offer: ExportDescription {
        var offer = description
        offer.maps = maps.names
        return offer
    }
}
