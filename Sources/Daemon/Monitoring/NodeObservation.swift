import NBDServer
import Peer
import Site

/// A node's state at one moment, for metrics and the block map's page.
struct NodeObservation: Sendable {
    let statuses: [ExportStatus]
    /// Clients by export.
    let connections: [String: Int]
    /// Bytes that only the source has, by export.
    let missingBytes: [String: UInt64]
    /// Connections of clients.
    let clients: Int
    let finished: [FinishedMigration]
    let encryption: ServerTLS?
    let peers: PeerProtection
    /// The node's site; nil without one, and before the first look at it.
    let site: SiteFigures?
}
