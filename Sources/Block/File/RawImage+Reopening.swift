import CLinux
import Glibc

extension RawImage {
    /// Whether the path leads to a file, and not to a block device.
    public var isFile: Bool { !isBlockDevice }

    /// A new device on the same descriptor.
    public var device: BlockDevice { FileDevice(image: self) }

    /// Whether this object may write to the image.
    public var isWritable: Bool { fcntl(descriptor, F_GETFL) & O_ACCMODE == O_RDWR }

    /// Bytes that the image takes on its file system; the size of a block device.
    /// - Throws: `FileError`.
    public func allocatedBytes() throws -> UInt64 {
        guard !isBlockDevice else { return size }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        return UInt64(info.st_blocks) * 512
    }

    /// Opens the same file or device once more. The two objects share one `FlushGate`, so a failed flush counts for
    /// both.
    /// - Throws: as `init`; `FileError` with `ESTALE` if the path now leads to another file.
    public func reopened(for access: Access) throws -> any DiskImage {
        let other = try RawImage(
            path: path, access: access, isDirect: direct != nil, givenName: givenName, size: fixedSize,
            makesMissing: false, followsLink: true, flushGate: flushGate)
        guard try isOpenOnSame(as: other) else { throw FileError("open again", path, code: ESTALE) }
        return other
    }
}
