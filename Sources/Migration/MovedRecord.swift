import Block
import Peer

/// The source's word that a disk is another node's now. Once it is on disk there is no way back (invariant 5).
public struct MovedRecord: Codable, Sendable {
    /// The export's name.
    public let export: String
    /// The image as it was left; another image at its path has not moved.
    let identity: ImageIdentity
    /// The migration by which it moved.
    public let migration: MigrationID
    /// Who has it.
    public let destination: PeerAddress
    /// The root at the switchover.
    let root: String
}
