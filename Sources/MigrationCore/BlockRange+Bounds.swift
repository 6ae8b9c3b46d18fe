import BlockModel
import MigrationProtocol

extension BlockRange {
    /// The blocks of a range that a peer has named.
    /// - Parameter name: a word for them in the error.
    /// - Throws: `MigrationError.unexpected` if it is empty or goes beyond the end of the disk.
    func blocks(of geometry: BlockGeometry, called name: String = "blocks") throws -> Range<UInt64> {
        guard count > 0, let blocks = range, blocks.upperBound <= geometry.blockCount else {
            throw MigrationError.unexpected("\(name) beyond the end of the disk")
        }
        return blocks
    }
}
