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
    /// Bytes that the guest has written since they were sent.
    public var dirty: UInt64 = 0
    /// So far.
    public var ledger = Ledger()

    /// The beginning.
    public init() {}

    /// Of several disks together; in the phase of the one with the most to do.
    public init(of disks: [MigrationProgress]) {
        phase = disks.max { $0.total - min($0.done, $0.total) < $1.total - min($1.done, $1.total) }?.phase ?? phase
        for disk in disks {
            round = max(round, disk.round)
            done += disk.done
            total += disk.total
            wire += disk.wire
            dirty += disk.dirty
            ledger.add(disk.ledger)
        }
    }
}
