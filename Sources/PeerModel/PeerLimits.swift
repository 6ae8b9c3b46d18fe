/// Limits on what one peer, one migration and all of them together may have of a node that takes disks in (invariant
/// 10). A peer that keeps its places occupied then leaves others theirs.
///
/// A migration needs one connection to bring the disk, one to forward requests, and two for post-copy. It needs as many
/// again while it reconnects and the node has not noticed the end of the old ones.
public enum PeerLimits {
    /// The most connections that have not brought their first frame, of all peers together.
    package static let waiting = 64
    /// The most connections that have brought it.
    package static let connections = 1024
    /// Those of one peer among them.
    package static let connectionsPerPeer = 256
    /// Forwarding connections of one migration that have not asked for anything; the oldest goes.
    public static let idleForwardersPerMigration = 8
    /// The most disks that may be arriving at once; each takes memory for a 128 MiB window.
    public static let arriving = 24
    /// Those of one peer among them.
    public static let arrivingPerPeer = 16
    /// The most disks of one peer of which blocks are missing here, before or after the switchover.
    public static let unfinishedPerPeer = 64
    /// Blocks of these disks together: as many as the largest disk has. Each takes up to 3 bits of memory.
    public static let unfinishedBlocksPerPeer: UInt64 = 1 << 32
    /// The most estimates of a migration's cost at once; each takes 16 MiB.
    public static let estimates = 16
    /// Those of one peer among them.
    public static let estimatesPerPeer = 8
    /// The most connections of guests' memory at once; each takes up to 40 MiB, most of it while a batch is repaired.
    public static let memories = 48
    /// Those of one peer among them.
    public static let memoriesPerPeer = 16
    /// The most connections on which hosts of the site read neighbours here; each takes up to 2 MiB.
    package static let loans = 256
    /// Those of one peer among them.
    package static let loansPerPeer = 4
    /// The most connections on which hosts of the site ask about disks that arrive here; each takes up to 2 MiB. They have
    /// places of their own: what is in the images is worth more than what may come.
    package static let arrivalQuestions = 64
    /// Those of one peer among them: one for each disk that arrives there.
    package static let arrivalQuestionsPerPeer = 16
    /// Bytes of forwarded requests of one peer that are worked on at once, beyond `ownForwardedBytes` of each link.
    public static let forwardedBytesPerPeer = 128 << 20
    /// The most of these bytes for one link.
    public static let forwardedBytesPerLink = 64 << 20
    /// Bytes of forwarded requests that each link may have worked on at once, whatever the others of its peer do.
    public static let ownForwardedBytes = 256 << 10
    /// The longest silence of a source that has offered a disk. One of several disks of a guest is silent until the last of
    /// them has been offered, which may take 30 s. That one may get its place 60 s later.
    public static let silenceAfterOffer = Duration.seconds(100)
    /// The longest silence within the manifest. Under a rate limit there is a long time between messages: 512 KiB at 10
    /// kbit/s take 420 s. Disks that go together share the limit.
    public static let silenceWithinManifest = Duration.seconds(1800)
}
