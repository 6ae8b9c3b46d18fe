/// A message about a disk that is switched over before all of it is there.
public enum PostcopyMessage: Sendable, Equatable {
    // Source to destination, while it copies.

    /// Says when the switchover will come.
    case expect(Switchover)
    /// Blocks that were written after they had been sent; said as often as it takes, with no data after it.
    case dirty([BlockRange])
    /// Prepare to take the disk over as it is; the rest follows.
    case leave

    // Destination to source, while it copies.

    /// Somebody wants to write to the disk at the destination.
    case switchNow
    /// Blocks that the destination lacks: all of them or, if both sides have `unsaidMissing` and they are the blocks
    /// that were named as dirty, none.
    case missing([BlockRange])

    // Destination to source, after the switchover.

    /// Asks which blocks are read most.
    case rank
    /// Asks for the fingerprints of ascending runs of blocks; of one, where the source has no `describesRuns`.
    case describe([BlockRange])
    /// Asks for the bytes of blocks.
    case need([BlockRange])
    /// Blocks that the guest replaced before they came.
    case replaced([BlockRange])
    /// Asks for the root of the source's image without the replaced blocks.
    case verify
    /// How many blocks are still missing, and for how long as far as that can be told; now and then.
    case left(missing: UInt64, milliseconds: UInt32?)
    /// Everything is at the destination, durable, and the roots were equal; with the origin of the bytes.
    case complete(Ledger)

    // Source to destination, after the switchover.

    /// The answer to `rank`: the blocks that the source's clients have read most, those first.
    case mostRead([BlockRange])
    /// Blocks that are probably free, ahead of the answer to `rank`: they are best brought last. Ascending.
    case free([BlockRange])
    /// The answer to `describe`.
    case description(BlockDescription)
    /// Blocks that can't be read, and the `errno`.
    case unreadable(BlockRange, error: Int32)
    /// The answer to `verify`.
    case verified(DiskRoot)
    /// The answer to `complete`: the source will not be asked again.
    case released

    /// The most ranges of `mostRead`, each within a part of `ReadCounts`.
    package static let maximumRanked = 1024
    /// The most runs of `free`.
    package static let maximumFree = 4096
    /// The most blocks of `need`, and so of one answer to it.
    package static let maximumNeeded: UInt64 = 1 << 16
    /// The most runs of one message.
    package static let maximumRuns = 32768

    /// Runs of blocks, in as many messages as they take.
    package static func chunks(of runs: [Range<UInt64>]) -> [[BlockRange]] {
        stride(from: 0, to: runs.count, by: maximumRuns).map {
            runs[$0..<min(runs.count, $0 + maximumRuns)].map { BlockRange($0) }
        }
    }
}
