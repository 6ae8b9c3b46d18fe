import Block

/// The node in which an `IncomingDiskRegistry` works. Called from any thread.
public protocol IncomingDiskHost: Sendable {
    /// Whether the node serves an export of that name already.
    func isNameTaken(_ export: String) -> Bool
    /// Answers clients of a disk that has not been switched over.
    /// - Parameter size: bytes.
    /// - Throws: if the name is taken.
    func announce(_ export: String, size: UInt64, device: BlockDevice) async throws -> Disk
    /// Ends that, for a disk that will not come.
    func withdraw(_ export: String) async
    /// An image of that name that has moved away from here, into which its disk may come back; nil if there is none.
    /// - Parameter isRestored: the disk has come back in an earlier life of the node: the image as the node has it open.
    func base(of export: String, isRestored: Bool) async -> ImageBase?
    /// Serves a disk from now on.
    func activate(_ disk: ReceivedDisk) async throws -> Disk
    /// An export that has the file or device open that another image has open; nil if none has.
    func export(with image: any DiskImage) async -> String?
    /// Opens an NBD URI, or an image that is not raw, for writing.
    /// - Parameter format: the format of the image at the location; nil for raw.
    /// - Throws: an error of one line.
    func open(_ location: String, format: String?, for export: String) async throws -> any DiskImage
    /// The image of an export that is served here; nil if it has none.
    func image(of export: String) async -> (any DiskImage)?
    /// All of a disk is here that was not whole when it was activated.
    func completed(_ export: String) async
}
