import Block
import MigrationProtocol

/// An image of this node that has moved away and is released, so that a disk of its name may come back into it.
public struct ImageBase: Sendable {
    let image: any DiskImage
    let movedBy: MigrationID
    private let isReleased: @Sendable () -> Bool

    /// An image that moved by a migration.
    /// - Parameter isReleased: whether the image is still not served by this node; asked before anything is written to it, on
    ///   any thread.
    public init(image: any DiskImage, movedBy: MigrationID, isReleased: @escaping @Sendable () -> Bool = { true }) {
        self.image = image
        self.movedBy = movedBy
        self.isReleased = isReleased
    }

    /// The image, opened for writing if it is open for reading only.
    /// - Throws: `MigrationError.refused` if this node serves it again, or another program writes to it; `FileError`.
    func writableImage() throws -> any DiskImage {
        guard isReleased() else { throw MigrationError.refused("\(image.path) is in use by its node again") }
        guard !image.isWritable else { return image }
        do { return try image.reopened(for: .readWrite) } catch let error as ImageInUse {
            throw MigrationError.refused(error.description)
        }
    }
}
