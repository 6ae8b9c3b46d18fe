import BlockModel
import Hashing
import MigrationProtocol

/// Pieces of work that the driver is given, and hands back.
extension PostCopyMachine {
    /// A place from which blocks come.
    package enum Origin: Sendable {
        /// The image held them already.
        case present
        /// They are zero.
        case zero
        /// A neighbour.
        case neighbour
        /// The source.
        case link
    }

    /// Blocks whose bytes are at hand, as far as they may be written. The driver passes it back with `filled`.
    package struct Fill: Equatable, Sendable {
        let id: UInt64
        let origin: Origin
        /// Blocks that may be written now; the others are present, or being written by somebody else.
        package let accepted: [Range<UInt64>]
    }

    /// Runs that may be found at the destination. Each part is searched and reported by itself, in this order.
    package struct Search: Equatable, Sendable {
        package let parts: [[Range<UInt64>]]
        /// `demand` if a client waits for the first part; of a search for `bulk`, blocks that have come meanwhile are left out.
        package let channel: PostCopyChannel
        let generation: Int
    }

    /// Blocks that the source has sent. The driver passes it back with `stored`.
    package struct Received: Equatable, Sendable {
        package let channel: PostCopyChannel
        /// Within the disk, not empty; in the order of their bytes.
        package let runs: [Range<UInt64>]
        /// nil for blocks of zeros.
        package let data: DataSegment?
        /// Bytes of all runs; at most `DataSegment.maximumBytes` where there is data.
        package let byteCount: Int
    }

    /// Fingerprints that the source has said. The driver passes it back with `described`.
    package struct Description: Equatable, Sendable {
        package let runs: [Range<UInt64>]
        /// One for each block of the runs.
        package let fingerprints: [Fingerprint]
        let generation: Int
    }
}
