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
    /// The most connections at once; nil for as many as the server takes.
    let maximumConnections: Int?
    /// The connections now. Another export of the same disk may count with it.
    public let connections: ConnectionCount
    /// The requests that the device has failed.
    public let failures: RequestFailures
    /// The clients that it has refused; nil where nobody wants to know.
    let refused: RefusedClients?

    /// An export of `disk` under `name`.
    /// - Parameters:
    ///   - isRotational: whether clients should spare it seeks.
    ///   - text: for people; empty where there is nothing to say.
    ///   - isSynchronous: whether every write is durable before it is acknowledged.
    ///   - requiresTLS: whether only clients that encrypt may have it.
    ///   - maximumConnections: at once; nil for as many as the server takes.
    ///   - maps: what clients may look at.
    ///   - connections: the count of an export whose place this one takes.
    ///   - failures: where requests are noted that the device fails.
    ///   - refused: where clients are noted that come while there are as many as there may be.
    public init(
        name: String, disk: Disk, isReadOnly: Bool, isRotational: Bool = false, text: String = "",
        isSynchronous: Bool = false, requiresTLS: Bool = false, maximumConnections: Int? = nil,
        maps: ExportMaps = ExportMaps(), connections: ConnectionCount = ConnectionCount(),
        failures: RequestFailures = RequestFailures { _ in }, refused: RefusedClients? = nil
    ) {
        self.failures = failures
        self.refused = refused
        self.maps = maps
        self.isSynchronous = isSynchronous
        self.maximumConnections = maximumConnections
        self.connections = connections
        var description = ExportDescription(
            name: name, size: disk.size, isReadOnly: isReadOnly, isRotational: isRotational, text: text)
        description.requiresTLS = requiresTLS
        self.description = description
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
