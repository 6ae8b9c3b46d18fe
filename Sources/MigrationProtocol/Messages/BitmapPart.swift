/// Blocks of a dirty bitmap that moves with its disk.
///
/// Its blocks have `blockSize` bytes from the start of the disk on, wherever the blocks of the migration begin.
public struct BitmapPart: Sendable, Equatable {
    /// One of a bitmap's two maps.
    package enum Map: UInt8, Sendable {
        /// Blocks written since the last checkpoint.
        case current = 0
        /// Blocks that the last checkpoint shows.
        case shown = 1
    }

    /// The most bytes of a bitmap's name, in UTF-8.
    package static let longestName = 200
    /// Bytes of a block.
    package static let blockSize = 4096

    /// The bitmap's name, not empty.
    package var name: String
    package var map: Map
    /// At most `PostcopyMessage.maximumRuns`; none says only that there is such a bitmap.
    package var runs: [BlockRange]

    package init(name: String, map: Map, runs: [BlockRange]) {
        self.name = name
        self.map = map
        self.runs = runs
    }
}
