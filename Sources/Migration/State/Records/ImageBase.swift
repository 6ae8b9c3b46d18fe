import Block
import MigrationProtocol

/// An image of this node that has moved away and is released, so that a disk of its name may come back into it.
public struct ImageBase: Sendable {
    let image: RawImage
    let movedBy: MigrationID

    /// An image that moved by a migration.
    public init(image: RawImage, movedBy: MigrationID) {
        self.image = image
        self.movedBy = movedBy
    }

    /// The image, opened for writing if it is open for reading only.
    /// - Throws: `MigrationError.refused` if another program writes to it; `FileError`.
    func writableImage() throws -> RawImage {
        guard !image.isWritable else { return image }
        do { return try image.reopened(for: .readWrite) } catch let error as ImageInUse {
            throw MigrationError.refused(error.description)
        }
    }
}
