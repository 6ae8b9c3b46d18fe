import Block

/// The record of a dirty bitmap that a node has saved when it ended. It is removed before the image may be written again.
struct BitmapRecord: Codable, Sendable {
    /// The names of these records.
    static let prefix = "bitmap"

    /// The bitmap's name.
    let bitmap: String
    /// The image whose blocks it is about.
    let image: RecordedImage
    /// The image as it was left: written since, it is another one.
    let stamp: ImageStamp
    /// The other files on which the disk's contents depend, as they were left; nil if there are none.
    let others: [ImageStamp]?
    /// Bytes of the disk.
    let size: UInt64
    /// Bytes of a block.
    let blockSize: Int
    /// The SHA-256 hash of the file with the bits.
    let digest: String
}
