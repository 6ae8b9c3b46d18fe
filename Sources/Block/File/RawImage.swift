import BlockModel
import CLinux
import Glibc
import NIOConcurrencyHelpers
import Synchronization

/// An open raw disk image or block device, used by worker threads with blocking calls.
///
/// Any number of threads may use one image at once: every call names its own offset, and the descriptor has no other
/// state. `FileDevice` uses the same descriptor on the ring.
public final class RawImage: DiskImage {
    /// The access for which an image is opened.
    public enum Access: Sendable {
        case readOnly
        case readWrite
    }

    /// Bytes of one system call. Many kernels do not preempt themselves, so a longer copy delays other threads of the
    /// core, including those that serve guests.
    private static let mostAtOnce = 64 << 10

    /// The path as the user named it, or after `rename` the new one.
    public var path: String { currentPath.withLockedValue { $0 } }
    let currentPath: NIOLockedValueBox<String>
    /// Bytes; any positive number, not necessarily a multiple of 512. Only `resize` changes it.
    public var size: UInt64 { length.load(ordering: .relaxed) }
    let length: Synchronization.Atomic<UInt64>
    /// The end of the file at the last look, at most `size`. A `FileDevice` lets no request go beyond it, since a
    /// write there would make the file longer again.
    let limit: Synchronization.Atomic<UInt64>
    /// Bytes of the disk that the configuration sets; nil if the whole file is the disk.
    let fixedSize: UInt64?
    let whenCut = NIOLockedValueBox<(@Sendable (UInt64) -> Void)?>(nil)
    /// The descriptor; open as long as this object lives.
    public let descriptor: CInt
    /// All attempts to make the image durable pass this gate.
    let flushGate: FlushGate
    /// Whether the image is a block device, whose `stat` has neither size nor time.
    public let isBlockDevice: Bool
    /// The access without the page cache; nil if requests use the cache.
    let direct: DirectAccess?

    /// Stays at 0: a failure of a local image counts for all of its clients (`FlushGate`).
    public let losses = LossCount()

    /// The operator's name for a device that nothing else tells from others; nil if there is none.
    let givenName: String?

    /// Opens an existing image; for writing only if nobody else does (`ImageLock`).
    /// - Parameters:
    ///   - isDirect: whether a `FileDevice` bypasses the page cache (O_DIRECT).
    ///   - givenName: the operator's name for a device that nothing else tells from others.
    ///   - fixedSize: bytes at the front that are the disk; nil for the whole image.
    ///   - makesMissing: whether a missing or empty file is given the fixed size when it is opened for writing.
    ///   - followsLink: whether the path may be a symbolic link.
    /// - Throws: `FileError` if it can't be opened or is neither a file nor a block device; `EmptyImage`,
    ///   `ImageInUse`, `ShortImage`.
    public convenience init(
        path: String, access: Access, isDirect: Bool = false, givenName: String? = nil, size fixedSize: UInt64? = nil,
        makesMissing: Bool = false, followsLink: Bool = true
    ) throws {
        try self.init(
            path: path, access: access, isDirect: isDirect, givenName: givenName, size: fixedSize,
            makesMissing: makesMissing, followsLink: followsLink, flushGate: FlushGate())
    }

    /// As above, with a shared gate.
    /// - Parameter flushGate: the gate of another object that has the same image open, so that a failed flush counts
    ///   for both.
    init(
        path: String, access: Access, isDirect: Bool, givenName: String?, size fixedSize: UInt64?,
        makesMissing: Bool, followsLink: Bool, flushGate: FlushGate
    ) throws {
        let flags = access == .readOnly ? O_RDONLY : O_RDWR
        let isMade = makesMissing && fixedSize != nil && access == .readWrite
        // O_NONBLOCK, because opening a FIFO would wait for its other end.
        let options = (isMade ? O_CREAT : 0) | (followsLink ? 0 : O_NOFOLLOW)
        let descriptor = open(path, flags | O_CLOEXEC | O_NONBLOCK | options, 0o600)
        guard descriptor >= 0 else { throw FileError("open", path) }
        do {
            // The flag is cleared again: with it, the ring would not wait for the disk.
            guard fcntl(descriptor, F_SETFL, flags) == 0 else { throw FileError("open", path) }
            if isMade, let fixedSize { try Self.fill(descriptor, path, size: fixedSize) }
            let (end, isBlockDevice) = try Self.measure(descriptor, path)
            let size = fixedSize ?? end
            guard size <= end else { throw ShortImage(path: path, size: end, wanted: size) }
            length = .init(size)
            limit = .init(size)
            self.fixedSize = fixedSize
            self.isBlockDevice = isBlockDevice
            if access == .readWrite { try ImageLock.acquire(descriptor, path) }
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
    /// - Parameter permissions: set before the image has contents; only the owner has access if they are nil.
    /// - Throws: `FileError`, with `EEXIST` if the path is taken.
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

    /// Renames the image to an unused name on the same file system. The new name is not durable yet.
    /// - Throws: `FileError`, with `EEXIST` if the name is taken.
    public func rename(to newPath: String) throws {
        guard linux_rename_new(path, newPath) == 0 else { throw FileError("rename to \(newPath)", path) }
        currentPath.withLockedValue { $0 = newPath }
    }

    /// The file's numbers, size and time of change, read at each call.
    /// - Throws: `FileError`.
    public func stamp() throws -> ImageStamp {
        guard isBlockDevice else { return try ImageStamp(ofFile: descriptor, path: path) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        return ImageStamp(device: UInt64(info.st_rdev), inode: 0, size: size, modified: 0)
    }

    /// The identity of the image; nil for a device that nothing tells from others.
    /// - Throws: `FileError`.
    public func identity() throws -> ImageIdentity? {
        try ImageIdentity(of: descriptor, path: path, size: size, name: givenName)
    }

    /// The file behind the image; nil for a device that is not over a file.
    public var fileNumber: FileNumber? { FileNumber(of: descriptor) }

    /// Whether the image's path still leads to the open file or device.
    public var isAtPath: Bool {
        var (open, there) = (stat(), stat())
        guard fstat(descriptor, &open) == 0, stat(path, &there) == 0 else { return false }
        return isBlockDevice
            ? open.st_rdev == there.st_rdev : open.st_dev == there.st_dev && open.st_ino == there.st_ino
    }

    /// Whether both objects have the same file or device open, whatever their paths.
    /// - Throws: `FileError`.
    public func isOpenOnSame(as other: any DiskImage) throws -> Bool {
        guard let other = other as? RawImage, isBlockDevice == other.isBlockDevice else { return false }
        let (ours, theirs) = (try stamp(), try other.stamp())
        return ours.device == theirs.device && ours.inode == theirs.inode
    }

    /// Fills `buffer` with the bytes at `offset`.
    /// - Throws: `FileError`; with `EIO` if the image ends first, because it was truncated.
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

    /// Writes all of `buffer` at `offset`.
    /// - Throws: `FileError`, with `ENOSPC` if the file system is full.
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

    /// Makes a range read as zeros, and frees its space if the file system can.
    /// - Throws: `FileError`.
    public func punchHole(at offset: UInt64, length: UInt64) throws {
        while linux_fallocate(descriptor, linux_punch_hole, off_t(offset), off_t(length)) != 0 {
            if errno == EINTR { continue }
            // A device takes whole sectors only.
            guard errno == EOPNOTSUPP || (errno == EINVAL && isBlockDevice) else {
                throw FileError("punch a hole in", path)
            }
            return try fillWithZeros(at: offset, length: length)
        }
    }

    /// Writes zeros where the range does not read as zeros already. A written zero takes up space in a thin pool, which can't
    /// punch holes. A discard would free the space, but does not say what is read afterwards.
    private func fillWithZeros(at offset: UInt64, length: UInt64) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.mostAtOnce, alignment: 16)
        defer { buffer.deallocate() }
        var done: UInt64 = 0
        while done < length {
            // No further than to the next boundary, so that each page is looked at once.
            let position = offset + done
            let piece = UInt64(buffer.count) - position % UInt64(buffer.count)
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(piece, length - done))])
            try read(into: part, at: position)
            if part.contains(where: { $0 != 0 }) { try writeZeros(at: position, length: UInt64(part.count)) }
            done += UInt64(part.count)
        }
    }

    /// Reserves the space of the whole file, so that later writes can't fail for want of it; `fallocate(2)`.
    /// - Throws: `FileError`, with `ENOSPC` if there is none.
    func reserve() throws {
        while linux_fallocate(descriptor, 0, 0, off_t(size)) != 0 {
            if errno == EINTR { continue }
            guard errno == EOPNOTSUPP else { throw FileError("make room for", path) }
            return try writeZeros(at: 0, length: size)
        }
    }

    /// Tells a block device that a range is no longer needed; its contents are then undefined. Only whole blocks
    /// within the range are discarded. `blkdev(4)`, BLKDISCARD.
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

    /// Finds the next range at or after `offset` that may hold data; nil if only holes follow. A file system that
    /// can't tell calls everything data. `lseek(2)`, SEEK_DATA and SEEK_HOLE.
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
        // The file may have shrunk or grown meanwhile; the range must stay within the disk.
        let lower = min(UInt64(start), size)
        return lower < size ? lower..<min(UInt64(end), size) : nil
    }

    /// Starts writing dirty pages to the disk: `sync_file_range(2)`. Waits only if the device's queue is full.
    public func beginWritingOut() { linux_begin_writing_out(descriptor) }

    /// Writes zeros, which take up space.
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

    /// Gives an empty file the size of the disk, all of it a hole.
    private static func fill(_ descriptor: CInt, _ path: String, size: UInt64) throws {
        func isEmptyFile() throws -> Bool {
            var info = stat()
            guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
            return info.st_mode & S_IFMT == S_IFREG && info.st_size == 0
        }
        guard try isEmptyFile() else { return }
        try ImageLock.acquire(descriptor, path)
        // Another writer may have filled the file before it released its lock.
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
