import Block
import CLinux
import Glibc
import Hashing

/// A file of the index, mapped for reading while this object lives. It holds no descriptor, because there may be many
/// files.
///
/// Published files never change. But anyone with the rights can truncate one, and a shared file system can lose one. So
/// bytes are only copied out of the mapping, by `linux_copy_mapped`, which reports a lost page instead of a crash.
///
/// `@unchecked Sendable`: the mapping is made once, only read, and removed with the object.
final class IndexFile: @unchecked Sendable {
    let path: String
    /// Size in bytes when the file was opened.
    let size: UInt64
    /// Bytes allocated on the disk then. A file system may not know them before it has written the file out.
    let allocated: UInt64
    private let inode: ino_t
    /// The pages of a file that is not mapped; nil for the others.
    private let pages: StoredPages?
    private let start: UnsafeRawPointer?

    convenience init(path: String) throws(TableFault) {
        // Non-blocking, because opening a named pipe in the directory would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw errno == ENOENT || errno == ESTALE ? .gone : .unreadable(errno) }
        defer { close(descriptor) }
        try self.init(descriptor: descriptor, path: path)
    }

    /// Opens a file of a site's store.
    /// - Parameter path: Path of its folder.
    convenience init(_ entry: SiteFolderEntry, in path: String) throws(TableFault) {
        if let stored = entry.stored {
            self.init(pages: try StoredPages(stored), path: "\(path)/\(entry.name)")
        } else {
            try self.init(path: "\(path)/\(entry.name)")
        }
    }

    private init(pages: StoredPages, path: String) {
        self.path = path
        self.pages = pages
        size = pages.file.size
        allocated = pages.file.allocated
        inode = 0
        start = UnsafeRawPointer(pages.start)
    }

    /// Maps an open file, which the caller may then close.
    init(descriptor: CInt, path: String) throws(TableFault) {
        self.path = path
        pages = nil
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { throw .foreign }
        size = UInt64(info.st_size)
        allocated = UInt64(info.st_blocks) * 512
        inode = info.st_ino
        let map = size == 0 ? nil : mmap(nil, Int(size), PROT_READ, MAP_SHARED, descriptor, 0)
        guard map != MAP_FAILED else { throw .unreadable(errno) }
        start = map.map { UnsafeRawPointer($0) }
    }

    deinit {
        if let start, pages == nil { munmap(UnsafeMutableRawPointer(mutating: start), Int(size)) }
    }

    /// Tells the kernel not to read ahead.
    func expectRandomReads() {
        guard let start, pages == nil else { return }
        madvise(UnsafeMutableRawPointer(mutating: start), Int(size), MADV_RANDOM)
    }

    /// Fills `buffer`; returns false if the file ends first or can't be read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        guard buffer.count > 0 else { return true }
        if let pages {
            guard offset <= size, UInt64(buffer.count) <= size - offset,
                pages.load(offset..<offset + UInt64(buffer.count))
            else { return false }
        }
        guard let piece = self.piece(into: buffer.baseAddress!, count: buffer.count, at: offset) else { return false }
        return withUnsafePointer(to: piece) { linux_copy_mapped($0, 1) == 0 }
    }

    /// The fault of a file of which bytes could not be read.
    var readFault: TableFault { pages?.file.isDamaged == true ? .truncated : .unreadable(EIO) }

    /// Describes a copy for `linux_copy_mapped`; nil if it would lie outside the file. Bytes that the store does not give
    /// are zeros then, which no fingerprint is.
    func piece(into target: UnsafeMutableRawPointer, count: Int, at offset: UInt64) -> linux_piece? {
        guard let start, offset <= size, UInt64(count) <= size - offset else { return nil }
        if let pages { _ = pages.load(offset..<offset + UInt64(count)) }
        return linux_piece(to: target, from: start + Int(offset), count: count)
    }

    /// Returns whether the file is still the one that a folder lists.
    func isSame(as entry: SiteFolderEntry) -> Bool {
        guard let pages else { return entry.stored == nil && isInPlace }
        return pages.file.version == entry.stored?.version
    }

    /// Looks whether a site's store still has the next part of the file; blocks for a bounded time.
    /// - Returns: False once the store has answered that it lacks bytes. Always true for a file at a path.
    func checkStored() -> Bool {
        guard let pages else { return true }
        pages.file.checkNext()
        return !pages.file.isDamaged
    }

    /// Returns whether the file is still the one at its path.
    var isInPlace: Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_ino == inode && UInt64(info.st_size) == size
    }

    /// Returns the next range at or after `offset` that may hold data; nil if only holes follow. If another file has
    /// replaced this one, the whole rest counts as data.
    func nextData(from offset: UInt64) -> Range<UInt64>? {
        guard offset < size else { return nil }
        if let pages { return pages.file.nextData(from: offset)?.clamped(to: offset..<size) }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return offset..<size }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_ino == inode else { return offset..<size }
        let start = lseek(descriptor, off_t(offset), linux_seek_data)
        guard start >= 0 else { return errno == ENXIO ? nil : offset..<size }
        let end = lseek(descriptor, start, linux_seek_hole)
        guard end > start else { return offset..<size }
        let range = min(UInt64(start), size)..<min(UInt64(end), size)
        return range.isEmpty ? nil : range
    }

    /// Computes the SHA-256 of a range.
    func digest(_ range: Range<UInt64>) throws(TableFault) -> [UInt8] {
        let buffer = ReadBuffer(count: 1 << 18)
        let stream = SHA256Stream()
        var offset = range.lowerBound
        while offset < range.upperBound {
            let part = buffer.prefix(Int(min(UInt64(buffer.bytes.count), range.upperBound - offset)))
            guard read(into: part, at: offset) else { throw readFault }
            stream.update(UnsafeRawBufferPointer(part))
            offset += UInt64(part.count)
        }
        return stream.finish()
    }
}
