/// Limits on what one peer, one migration and all of them together may have of a node that takes disks in (invariant 10).
/// A peer that keeps its places taken then leaves others theirs.
///
/// A migration needs one connection to bring the disk, one to forward requests, and two for post-copy; as many again while
/// it reconnects and the node has not noticed that the old ones are gone.
public enum PeerLimits {
    /// Connections at once that have not brought their first frame, of all peers together.
    package static let waiting = 64
    /// Connections at once that have brought it.
    package static let connections = 1024
    /// Those of one peer among them.
    package static let connectionsPerPeer = 256
    /// Forwarding connections of one migration that have not asked for anything; the oldest goes.
    public static let idleForwardersPerMigration = 8
    /// Disks that may be arriving at once: each takes memory for a 128 MiB window.
    public static let arriving = 24
    /// Those of one peer among them.
    public static let arrivingPerPeer = 16
    /// Disks of one peer of which blocks are missing here, handed over or not.
    public static let unfinishedPerPeer = 64
    /// Blocks of these disks together: as many as the largest disk has. Each takes up to 3 bits of memory.
    public static let unfinishedBlocksPerPeer: UInt64 = 1 << 32
    /// Questions of what a disk would take that may be asked at once: each takes 16 MiB.
    public static let estimates = 16
    /// Those of one peer among them.
    public static let estimatesPerPeer = 8
    /// Bytes of forwarded requests of one peer that are worked on at once, beyond `ownForwardedBytes` of each link.
    public static let forwardedBytesPerPeer = 128 << 20
    /// The most of these bytes for one link.
    public static let forwardedBytesPerLink = 64 << 20
    /// Bytes of forwarded requests that each link may have worked on at once, whatever the others of its peer do.
    public static let ownForwardedBytes = 256 << 10
    /// The longest silence of a source that has offered a disk. One of several disks of a guest is silent until the last of
    /// them has been offered, which may take 30 s.
    public static let silenceAfterOffer = Duration.seconds(40)
    /// The longest silence from its first message after that until the end of the manifest. Under a rate limit there is a
    /// long time between messages: 512 KiB at 10 kbit/s take 420 s, and disks that go together share the limit.
    public static let silenceWithinManifest = Duration.seconds(1800)
}
