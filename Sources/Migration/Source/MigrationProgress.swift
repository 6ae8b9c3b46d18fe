import MigrationProtocol

/// The progress of a migration.
public struct MigrationProgress: Codable, Sendable, Equatable {
    /// `connecting`, `copying`, `waiting` for the switchover, `fenced`, `moved`, `post-copy` or `reconnecting`.
    public var phase = "connecting"
    /// Number of the round; 1 is the first pass over the whole disk.
    public var round = 0
    /// Bytes of this round that are dealt with.
    public var done: UInt64 = 0
    /// Bytes of this round.
    public var total: UInt64 = 0
    /// Bytes that crossed the link so far, both ways.
    public var wire: UInt64 = 0
    /// Bytes that the guest has written since they were sent; in post-copy, those that are still to follow.
    public var dirty: UInt64 = 0
    /// Growth of `dirty`, bytes a second, as the last round has shown.
    public var dirtyRate = 0.0
    /// Bits that crossed the link each second lately, both ways.
    public var linkRate = 0.0
    /// Seconds until the switchover can come, or all of the disk has followed. nil if unknown, or if the guest writes
    /// so fast that rounds hardly bring the end nearer.
    public var secondsLeft: Double?
    /// The origin of the bytes so far.
    public var ledger = Ledger()
    /// The blocks that were free at the start; nil if none are known.
    public var free: FreeBytes?

    /// The progress at the beginning.
    public init() {}

    /// The progress of several disks together, in the phase of the disk with the most left to do.
    public init(of disks: [MigrationProgress]) {
        phase = disks.max { $0.total - min($0.done, $0.total) < $1.total - min($1.done, $1.total) }?.phase ?? phase
        // They share the link: a share that one does not need goes to the others.
        let left = disks.compactMap(\.secondsLeft)
        secondsLeft = left.count == disks.count ? left.max() : nil
        for disk in disks {
            round = max(round, disk.round)
            done = done.addingClamped(disk.done)
            total = total.addingClamped(disk.total)
            wire = wire.addingClamped(disk.wire)
            dirty = dirty.addingClamped(disk.dirty)
            dirtyRate += disk.dirtyRate
            linkRate += disk.linkRate
            ledger.add(disk.ledger)
            free = FreeBytes.sum(free, disk.free)
        }
    }
}
