import MigrationProtocol

/// How far a migration is.
public struct MigrationProgress: Codable, Sendable, Equatable {
    /// What is going on: `connecting`, `copying`, `waiting` for the switchover, `fenced`, `moved`, `post-copy`, `reconnecting`.
    public var phase = "connecting"
    /// 1 is the first pass over the whole disk.
    public var round = 0
    /// Bytes of this round that are dealt with.
    public var done: UInt64 = 0
    /// Bytes of this round.
    public var total: UInt64 = 0
    /// Bytes that crossed the link so far, both ways.
    public var wire: UInt64 = 0
    /// Bytes that the guest has written since they were sent; in post-copy, those that are still to follow.
    public var dirty: UInt64 = 0
    /// How many more of those each second, as the last round has shown.
    public var dirtyRate = 0.0
    /// Bits that crossed the link each second lately, both ways.
    public var linkRate = 0.0
    /// Until the disk can be handed over, or all of it has followed; nil where that can't be told yet, or the guest writes so
    /// fast that the rounds hardly bring the end nearer.
    public var secondsLeft: Double?
    /// So far.
    public var ledger = Ledger()

    /// The beginning.
    public init() {}

    /// Of several disks together; in the phase of the one with the most to do.
    public init(of disks: [MigrationProgress]) {
        phase = disks.max { $0.total - min($0.done, $0.total) < $1.total - min($1.done, $1.total) }?.phase ?? phase
        // They share the link: what one needs less the others have more.
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
        }
    }
}
