import BlockModel
import CLinux
import Glibc
import NIOConcurrencyHelpers
import Synchronization

/// An open raw disk image or block device, used by worker threads with plain blocking calls.
///
/// Any number of threads may use one image at once: every call names its own offset and the descriptor has no other
/// state. The ring's data path uses the same descriptor through `FileDevice`.
public final class RawImage: Sendable {
    /// What the image is opened for.
    public enum Access: Sendable {
        case readOnly
        case readWrite
    }

    /// Bytes that one call reads or writes: many kernels don't interrupt themselves, and whatever else waits for the core,
    /// a guest's request too, waits while they copy.
    private static let mostAtOnce = 64 << 10

    /// As the user named it, or as it was renamed to.
    public var path: String { currentPath.withLockedValue { $0 } }
    let currentPath: NIOLockedValueBox<String>
    /// Bytes; any positive number, not necessarily a multiple of 512. It follows the file by `resize` only.
    public var size: UInt64 { length.load(ordering: .relaxed) }
    let length: Synchronization.Atomic<UInt64>
    /// Where the file ended when somebody last looked, `size` at most. A `FileDevice` lets no request go beyond it: a
    /// write there would make the file longer again.
    let limit: Synchronization.Atomic<UInt64>
    /// Bytes that the configuration gives the disk, whatever more the file has; nil for all of the file.
    let fixedSize: UInt64?
    let whenCut = NIOLockedValueBox<(@Sendable (UInt64) -> Void)?>(nil)
    /// Open for as long as this object lives.
    public let descriptor: CInt
    /// Through it goes everything that makes the image durable.
    let flushGate: FlushGate
    /// True for a block device, whose `stat` says neither size nor time.
    public let isBlockDevice: Bool
    /// Where requests are to pass by the page cache; nil where they are not.
    let direct: DirectAccess?

    /// What the operator calls a device that nothing else tells from others; nil for nothing.
    let givenName: String?

    /// Opens an existing image; for writing only where nobody else does (`ImageLock`).
    /// - Throws: `FileError` where it can't be opened or is neither a file nor a block device, `EmptyImage`,
    ///   `ImageInUse`.
    /// - Parameters:
    ///   - isDirect: whether what a `FileDevice` does passes by the page cache (O_DIRECT).
    ///   - givenName: what the operator calls a device that nothing else tells from others.
    ///   - fixedSize: bytes at the front that are the disk; nil for the whole image.
    ///   - makesMissing: whether, for writing, a file that is missing or empty is made of the fixed size.
    ///   - followsLink: whether the path may be a symbolic link.
    public convenience init(
        path: String, access: Access, isDirect: Bool = false, givenName: String? = nil, size fixedSize: UInt64? = nil,
        makesMissing: Bool = false, followsLink: Bool = true
    ) throws {
        try self.init(
            path: path, access: access, isDirect: isDirect, givenName: givenName, size: fixedSize,
            makesMissing: makesMissing, followsLink: followsLink, flushGate: FlushGate())
    }

    /// As above.
    /// - Parameter flushGate: that of another object which has the same image open, so that a failure is that of both.
    init(
        path: String, access: Access, isDirect: Bool, givenName: String?, size fixedSize: UInt64?,
        makesMissing: Bool, followsLink: Bool, flushGate: FlushGate
    ) throws {
        let flags = access == .readOnly ? O_RDONLY : O_RDWR
        let isMade = makesMissing && fixedSize != nil && access == .readWrite
        // Opening a FIFO would wait for its other end.
        let options = (isMade ? O_CREAT : 0) | (followsLink ? 0 : O_NOFOLLOW)
        let descriptor = open(path, flags | O_CLOEXEC | O_NONBLOCK | options, 0o600)
        guard descriptor >= 0 else { throw FileError("open", path) }
        do {
            // The ring does not wait for the disk where a descriptor says not to.
            guard fcntl(descriptor, F_SETFL, flags) == 0 else { throw FileError("open", path) }
            if isMade, let fixedSize { try Self.fill(descriptor, path, size: fixedSize) }
            let (end, isBlockDevice) = try Self.measure(descriptor, path)
            let size = fixedSize ?? end
            guard size <= end else { throw ShortImage(path: path, size: end, wanted: size) }
            length = .init(size)
            limit = .init(size)
            self.fixedSize = fixedSize
            self.isBlockDevice = isBlockDevice
            if access == .readWrite { try ImageLock.take(descriptor, path) }
            direct = isDirect ? try DirectAccess(descriptor, path: path, size: size, access: access) : nil
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.flushGate = flushGate
        self.givenName = givenName
        currentPath = NIOLockedValueBox(path)
    }

    /// Creates a new image of `size` bytes, all of it a hole.
    /// - Parameter permissions: in force before there is anything to read; only the owner's where they say nothing.
    /// - Throws: `FileError`, with `EEXIST` where the path is taken.
    public static func create(
        path: String, size: UInt64, permissions: FilePermissions = FilePermissions()
    ) throws -> RawImage {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError("create", path) }
        defer { close(descriptor) }
        guard let length = off_t(exactly: size), ftruncate(descriptor, length) == 0 else {
            let failure = FileError("set the size of", path, code: size > UInt64(off_t.max) ? EFBIG : errno)
            unlink(path)
            throw failure
        }
        do {
            try permissions.apply(to: descriptor, path)
            return try RawImage(path: path, access: .readWrite)
        } catch {
            unlink(path)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// Gives the image another name on the same file system, one that nothing has yet; it is not yet durable.
    /// - Throws: `FileError`, with `EEXIST` where the name is taken.
    public func rename(to newPath: String) throws {
        guard linux_rename_new(path, newPath) == 0 else { throw FileError("rename to \(newPath)", path) }
        currentPath.withLockedValue { $0 = newPath }
    }

    /// The file and when it last changed, asked anew at each call.
    public func stamp() throws -> ImageStamp {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        if isBlockDevice {
            return ImageStamp(device: UInt64(info.st_rdev), inode: 0, size: size, modified: 0)
        }
        let modified = Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
        return ImageStamp(
            device: UInt64(info.st_dev), inode: UInt64(info.st_ino), size: UInt64(info.st_size), modified: modified)
    }

    /// Who this image is; nil for a device that nothing tells from others.
    /// - Throws: `FileError`.
    public func identity() throws -> ImageIdentity? {
        try ImageIdentity(of: descriptor, path: path, size: size, name: givenName)
    }

    /// The file behind the image; nil for a device that is not over one.
    public var fileNumber: FileNumber? { FileNumber(of: descriptor) }

    /// Whether the image's path still leads to what is open.
    public var isAtPath: Bool {
        var (open, there) = (stat(), stat())
        guard fstat(descriptor, &open) == 0, stat(path, &there) == 0 else { return false }
        return isBlockDevice
            ? open.st_rdev == there.st_rdev : open.st_dev == there.st_dev && open.st_ino == there.st_ino
    }

    /// Whether both are open on one file or device at this moment, whatever their paths.
    public func isOpenOnSame(as other: RawImage) throws -> Bool {
        guard isBlockDevice == other.isBlockDevice else { return false }
        let (ours, theirs) = (try stamp(), try other.stamp())
        return ours.device == theirs.device && ours.inode == theirs.inode
    }

    /// Fills `buffer` from `offset` on.
    /// - Throws: `FileError`; with `EIO` where the image ends first (it was truncated since it was opened).
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, min(buffer.count - done, Self.mostAtOnce),
                off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw FileError("read \(buffer.count) bytes at \(offset) of", path, code: count == 0 ? EIO : errno)
            }
            done += count
        }
    }

    /// Writes the whole of `buffer` at `offset`.
    /// - Throws: `FileError`, with `ENOSPC` where the file system is full.
    public func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws {
        var done = 0
        while done < buffer.count {
            let count = pwrite(
                descriptor, buffer.baseAddress! + done, min(buffer.count - done, Self.mostAtOnce),
                off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw FileError("write \(buffer.count) bytes at \(offset) of", path, code: count == 0 ? EIO : errno)
            }
            done += count
        }
    }

    /// Makes a range read as zeros and frees its space where the file system can.
    /// - Throws: `FileError`.
    public func punchHole(at offset: UInt64, length: UInt64) throws {
        while linux_fallocate(descriptor, linux_punch_hole, off_t(offset), off_t(length)) != 0 {
            if errno == EINTR { continue }
            guard errno == EOPNOTSUPP else { throw FileError("punch a hole in", path) }
            return try writeZeros(at: offset, length: length)
        }
    }

    /// Takes the space of the whole file now, so that writing to it can't fail for want of it later; `fallocate(2)`.
    /// - Throws: `FileError`, with `ENOSPC` where there is none.
    func reserve() throws {
        while linux_fallocate(descriptor, 0, 0, off_t(size)) != 0 {
            if errno == EINTR { continue }
            guard errno == EOPNOTSUPP else { throw FileError("make room for", path) }
            return try writeZeros(at: 0, length: size)
        }
    }

    /// Tells a block device that a range is no longer needed; what it holds afterwards is anybody's guess. Only whole
    /// blocks within the range are given up. `blkdev(4)`, BLKDISCARD.
    /// - Throws: `FileError`; a device that can't discard is no error.
    public func discard(at offset: UInt64, length: UInt64) throws {
        let unit = UInt64(BlockGeometry.standardBlockSize)
        let start = (offset + unit - 1) / unit * unit
        let end = (offset + length) / unit * unit
        guard start < end else { return }
        while linux_discard(descriptor, start, end - start) != 0 {
            if errno == EINTR { continue }
            guard errno == EOPNOTSUPP else { throw FileError("discard \(end - start) bytes at \(start) of", path) }
            return
        }
    }

    /// The next range at or after `offset` that may hold data; nil where only holes follow.
    /// A file system that can't tell calls everything data. `lseek(2)`, SEEK_DATA and SEEK_HOLE.
    /// - Throws: `FileError`.
    public func nextData(from offset: UInt64) throws -> Range<UInt64>? {
        guard offset < size else { return nil }
        if isBlockDevice { return offset..<size }
        let start = lseek(descriptor, off_t(offset), linux_seek_data)
        guard start >= 0 else {
            if errno == ENXIO { return nil }
            if errno == EINVAL || errno == EOPNOTSUPP { return offset..<size }
            throw FileError("look for data in", path)
        }
        let end = lseek(descriptor, start, linux_seek_hole)
        guard end >= 0 else { throw FileError("look for holes in", path) }
        // A file that shrank or grew meanwhile must not lead us out of the disk.
        let lower = min(UInt64(start), size)
        return lower < size ? lower..<min(UInt64(end), size) : nil
    }

    /// Bytes that may hold data: all that are not in holes.
    /// - Throws: `FileError`.
    public func dataBytes() throws -> UInt64 {
        var (total, position) = (0 as UInt64, 0 as UInt64)
        while let data = try nextData(from: position) {
            total += UInt64(data.count)
            position = data.upperBound
        }
        return total
    }

    /// Has what was written so far begin its way to the disk, `sync_file_range(2)`; waits only for room among
    /// what is on its way already.
    public func beginWritingOut() { linux_begin_writing_out(descriptor) }

    /// Writes zeros, and takes up space for them.
    /// - Throws: `FileError`.
    public func writeZeros(at offset: UInt64, length: UInt64) throws {
        let chunk = [UInt8](repeating: 0, count: Int(min(length, 1 << 20)))
        var done: UInt64 = 0
        while done < length {
            let count = Int(min(UInt64(chunk.count), length - done))
            try chunk.withUnsafeBytes { try write(UnsafeRawBufferPointer(rebasing: $0[..<count]), at: offset + done) }
            done += UInt64(count)
        }
    }

    /// Makes an empty file a disk of `size` bytes, all of it a hole.
    private static func fill(_ descriptor: CInt, _ path: String, size: UInt64) throws {
        func isEmptyFile() throws -> Bool {
            var info = stat()
            guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
            return info.st_mode & S_IFMT == S_IFREG && info.st_size == 0
        }
        guard try isEmptyFile() else { return }
        try ImageLock.take(descriptor, path)
        // Another writer may have filled it before its lock went.
        guard try isEmptyFile() else { return }
        guard let length = off_t(exactly: size) else { throw FileError("set the size of", path, code: EFBIG) }
        guard ftruncate(descriptor, length) == 0 else { throw FileError("set the size of", path) }
    }

    private static func measure(_ descriptor: CInt, _ path: String) throws -> (UInt64, Bool) {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        let kind = info.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFBLK else {
            throw FileError("use as a disk image", path, code: kind == S_IFDIR ? EISDIR : ENOTBLK)
        }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw FileError("measure", path) }
        guard end > 0 else { throw EmptyImage(path: path) }
        return (UInt64(end), kind == S_IFBLK)
    }
}
