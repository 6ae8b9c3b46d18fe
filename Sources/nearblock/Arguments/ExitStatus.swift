import Migration

/// Exit statuses of the commands. Scripts rely on the numbers.
enum ExitStatus: Int32, CaseIterable {
    case success = 0
    /// Another reason, which only the message says.
    case failed = 1
    case usage = 2
    /// An operator cancelled the migration.
    case cancelled = 3
    /// The destination does not answer.
    case unreachable = 4
    /// The destination does not take the disk.
    case refused = 5
    /// The destination has too little room.
    case noRoom = 6
    /// The copy differs from the disk.
    case rootsDiffer = 7
    /// The node ended before it was known how the migration ends.
    case unfinished = 8

    /// Returns the status for a node's word about a failure; nil and unknown words are `failed`.
    init(of kind: String?) {
        self =
            switch kind.flatMap(MigrationOutcome.init(rawValue:)) {
            case .cancelled: .cancelled
            case .unreachable: .unreachable
            case .refused: .refused
            case .full: .noRoom
            case .different: .rootsDiffer
            case .unfinished: .unfinished
            case .complete, .failed, nil: .failed
            }
    }
}
