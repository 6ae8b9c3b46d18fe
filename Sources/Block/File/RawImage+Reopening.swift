import CLinux
import Glibc

extension RawImage {
    /// Whether this object may write to the image.
    public var isWritable: Bool { fcntl(descriptor, F_GETFL) & O_ACCMODE == O_RDWR }

    /// Bytes that the image takes on its file system; all of them for a block device.
    /// - Throws: `FileError`.
    public func allocatedBytes() throws -> UInt64 {
        guard !isBlockDevice else { return size }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        return UInt64(info.st_blocks) * 512
    }

    /// The same file or device, opened once more. They are made durable as one: a failure of
    /// either is that of both.
    /// - Throws: as `init`; `FileError` with `ESTALE` where another file stands at its path now.
    public func reopened(for access: Access) throws -> RawImage {
        let other = try RawImage(
            path: path, access: access, isDirect: direct != nil, givenName: givenName, size: fixedSize,
            makesMissing: false, followsLink: true, flushGate: flushGate)
        guard try isOpenOnSame(as: other) else { throw FileError("open again", path, code: ESTALE) }
        return other
    }
}
