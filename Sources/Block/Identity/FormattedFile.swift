import Glibc

/// A local file or block device that holds a disk in another format than raw. A helper of this node reads and writes it;
/// this object only tells it from others.
public final class FormattedFile: Sendable {
    /// The path as the user named it.
    public let path: String
    /// The format, as QEMU calls it.
    public let format: String
    /// Whether it is a file, and not a block device.
    public let isFile: Bool
    private let descriptor: CInt

    /// Opens a file for its facts; nothing is read.
    /// - Throws: `FileError` if it can't be opened or is neither a file nor a block device.
    public init(path: String, format: String) throws {
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        var info = stat()
        let kind = fstat(descriptor, &info) == 0 ? info.st_mode & S_IFMT : 0
        guard kind == S_IFREG || kind == S_IFBLK else {
            close(descriptor)
            throw FileError("use as a disk image", path, code: kind == S_IFDIR ? EISDIR : ENOTBLK)
        }
        self.path = path
        self.format = format
        self.descriptor = descriptor
        isFile = kind == S_IFREG
    }

    deinit { close(descriptor) }

    /// The file's number; nil for a device that is not over a file.
    public var number: FileNumber? { FileNumber(of: descriptor) }

    /// Whether the path still leads to this file or device.
    public var isAtPath: Bool {
        var (open, there) = (stat(), stat())
        guard fstat(descriptor, &open) == 0, stat(path, &there) == 0 else { return false }
        return isFile
            ? open.st_dev == there.st_dev && open.st_ino == there.st_ino : open.st_rdev == there.st_rdev
    }

    /// The file's numbers, size and time of change, read at each call; nil for a device.
    /// - Throws: `FileError`.
    public func stamp() throws -> ImageStamp? { isFile ? try ImageStamp(ofFile: descriptor, path: path) : nil }

    /// Bytes that a file takes on its file system; nil for a device.
    var allocatedBytes: UInt64? {
        var info = stat()
        guard isFile, fstat(descriptor, &info) == 0 else { return nil }
        return UInt64(info.st_blocks) * 512
    }

    /// The identity of the disk in the file.
    /// - Parameters:
    ///   - size: bytes of the disk.
    ///   - name: the operator's name for a device that nothing else tells from others.
    /// - Returns: nil for a device that nothing tells from others.
    /// - Throws: `FileError`.
    public func identity(size: UInt64, name: String? = nil) throws -> ImageIdentity? {
        var identity = try ImageIdentity(of: descriptor, path: path, size: size, name: name)
        identity?.format = format
        return identity
    }
}
