import Block
import NBD
import NIOConcurrencyHelpers

/// A named disk that clients may open. Any thread may use it.
public final class Export: Sendable {
    /// The export's properties for clients, without the maps.
    public let description: ExportDescription
    /// The maps that clients may read.
    public let maps: ExportMaps
    /// The disk that serves the requests.
    public let disk: Disk
    /// Whether every write is durable before it is acknowledged, as if it had the FUA flag.
    let isSynchronous: Bool
    /// Examines the export for changes before a client is told about it; nil if nothing can change.
    public var watcher: (any ExportWatcher)? { watching.withLockedValue { $0 } }
    private let watching = NIOLockedValueBox<(any ExportWatcher)?>(nil)
    /// The most connections at once; nil if only the server's limit counts.
    let maximumConnections: Int?
    /// The number of connections now. Another export of the same disk may share the count.
    public let connections: ConnectionCount
    /// Counts the requests that the device has failed.
    public let failures: RequestFailures
    /// Counts the clients that were refused; nil if nobody reads the count.
    let refused: RefusedClients?
    /// Counts the requests of clients; nil while nothing is measured.
    let tallies: RequestTallies?

    /// Creates an export of `disk` under `name`.
    /// - Parameters:
    ///   - isRotational: whether clients should avoid seeks.
    ///   - text: a description for people; empty if there is none.
    ///   - isSynchronous: whether every write is durable before it is acknowledged.
    ///   - requiresTLS: whether only clients that encrypt may have it.
    ///   - maximumConnections: the most connections at once; nil if only the server's limit counts.
    ///   - maps: the maps that clients may read.
    ///   - connections: the count of the export that this one replaces.
    ///   - failures: counts the requests that the device fails.
    ///   - refused: counts the clients beyond `maximumConnections`.
    ///   - tallies: counts the requests of clients; nil for no measuring.
    public init(
        name: String, disk: Disk, isReadOnly: Bool, isRotational: Bool = false, text: String = "",
        isSynchronous: Bool = false, requiresTLS: Bool = false, maximumConnections: Int? = nil,
        maps: ExportMaps = ExportMaps(), connections: ConnectionCount = ConnectionCount(),
        failures: RequestFailures = RequestFailures { _ in }, refused: RefusedClients? = nil,
        tallies: RequestTallies? = nil
    ) {
        self.tallies = tallies
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

    /// Makes every new client wait until `watcher` has examined the export.
    public func watch(with watcher: any ExportWatcher) { watching.withLockedValue { $0 = watcher } }

    /// The export's properties for a client that comes now, with its maps.
    var offer: ExportDescription {
        var offer = description
        offer.maps = maps.names
        return offer
    }
}
