/// An image that holds a disk's bytes, used by worker threads with blocking calls: a file, a block device, or another
/// server's disk.
///
/// Clients' requests do not come this way: they go to `device`. Any number of threads may use one image at once.
public protocol DiskImage: AnyObject, Sendable {
    /// The image as the user named it, for messages and records: a path, an NBD URI or a QEMU image specification.
    var path: String { get }
    /// Bytes of the disk, more than 0.
    var size: UInt64 { get }
    /// Whether this object may write to the image.
    var isWritable: Bool { get }
    /// Whether the disk under the image is slow to seek; false if unknown.
    var isRotational: Bool { get }
    /// Whether `path` leads to a file, which may be reached by other paths too.
    var isFile: Bool { get }
    /// The file behind the image; nil if there is none on this host.
    var fileNumber: FileNumber? { get }
    /// Whether `path` still leads to what is open here. An image on another server always counts as being there.
    var isAtPath: Bool { get }
    /// Counts changes that were acknowledged and not flushed, and that another server may have lost.
    var losses: LossCount { get }
    /// A device for clients that leads to the same bytes. A flush of either covers the writes of both.
    var device: BlockDevice { get }

    /// The identity of the image; nil if nothing tells it from others.
    /// - Throws: `FileError`.
    func identity() throws -> ImageIdentity?
    /// Whether both objects have the same image open, whatever their paths.
    /// - Throws: `FileError`.
    func isOpenOnSame(as other: any DiskImage) throws -> Bool
    /// Opens the same image once more. A failed flush counts for both.
    /// - Throws: an error of one line if that fails, or the image may not be written to.
    func reopened(for access: RawImage.Access) throws -> any DiskImage
    /// Bytes that the image takes where it is stored; the disk's size if that is unknown.
    /// - Throws: `FileError`.
    func allocatedBytes() throws -> UInt64

    /// Fills `buffer` with the bytes at `offset`.
    /// - Throws: `FileError`, with `EIO` if the image ends first.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws
    /// Writes all of `buffer` at `offset`. It is durable after the next `synchronize`.
    /// - Throws: `FileError`, with `ENOSPC` if there is no room.
    func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws
    /// Makes a range read as zeros, and frees its space if possible.
    /// - Throws: as `write`.
    func punchHole(at offset: UInt64, length: UInt64) throws
    /// Makes a range read as zeros, and keeps its space reserved.
    /// - Throws: as `write`.
    func writeZeros(at offset: UInt64, length: UInt64) throws
    /// The next range at or after `offset` that may hold data; nil if only holes and zeros follow.
    /// - Throws: `FileError`.
    func nextData(from offset: UInt64) throws -> Range<UInt64>?
    /// Starts to make writes durable, as far as that needs no waiting.
    func beginWritingOut()

    /// Makes everything written so far durable, by this object and by `device`.
    /// - Throws: `FileError`, `LostChanges`. Once an attempt has failed, or the server has lost changes, every attempt fails: what was
    ///   written since the last success may be gone.
    func synchronize() throws
    /// The reason for which `synchronize` fails from now on; nil if there is none. Any thread may ask.
    var flushFailure: FileError? { get }
    /// Checks that nothing keeps `synchronize` from succeeding.
    /// - Throws: `FileError`, the `flushFailure`; `LostChanges`.
    func checkIsDurable() throws
    /// Lets `synchronize` succeed again if the cause of a failure is over: another server has lost changes, and goes on
    /// without them. Call it before the image's contents are read anew. A file or device keeps failing.
    func forgetLosses()
    /// Sets whether changes must not be lost, here and at `device`: for an image of which somebody remembers what it holds. Each
    /// is then durable before it is acknowledged, if the server can do that. If some are lost all the same, everything fails
    /// with `EIO`. Turning it off lets all succeed again. A file or device never does so.
    func refuseAfterLosses(_ isOn: Bool)
}

extension DiskImage {
    /// Bytes that are not in holes and may hold data.
    /// - Throws: as `nextData`.
    public func dataBytes() throws -> UInt64 {
        var (total, position) = (0 as UInt64, 0 as UInt64)
        while let data = try nextData(from: position) {
            total += UInt64(data.count)
            position = data.upperBound
        }
        return total
    }

    /// Checks that no attempt to make the image durable has failed.
    /// - Throws: `FileError`, the `flushFailure`.
    public func checkIsDurable() throws {
        if let failure = flushFailure { throw failure }
    }
}
