import Block
import CLinux
import Glibc
import Hashing

/// A file of the index, mapped for reading as long as this object lives; it holds no descriptor, for there may be many.
///
/// Published files never change, but whoever has the rights can cut one short, and a shared file system can lose one:
/// bytes are only copied out of the mapping, by `linux_copy_mapped`, which turns a lost page into an answer.
///
/// `@unchecked Sendable`: the mapping is made once, is only read, and goes with the object.
final class IndexFile: @unchecked Sendable {
    let path: String
    /// Bytes, when it was opened.
    let size: UInt64
    /// Bytes that it took on the disk then; a file system may not know before it has written them out.
    let allocated: UInt64
    private let inode: ino_t
    private let start: UnsafeRawPointer?

    init(path: String) throws(TableFault) {
        self.path = path
        // Non-blocking, so that a named pipe that lies in the directory can't hold us up.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw errno == ENOENT || errno == ESTALE ? .gone : .unreadable(errno) }
        defer { close(descriptor) }
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
        if let start { munmap(UnsafeMutableRawPointer(mutating: start), Int(size)) }
    }

    /// Reads of this file will jump about: the kernel is not to read ahead.
    func expectRandomReads() {
        guard let start else { return }
        madvise(UnsafeMutableRawPointer(mutating: start), Int(size), MADV_RANDOM)
    }

    /// Fills `buffer`; false where the file ends first or can't be read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        guard buffer.count > 0 else { return true }
        guard let piece = self.piece(into: buffer.baseAddress!, count: buffer.count, at: offset) else { return false }
        return withUnsafePointer(to: piece) { linux_copy_mapped($0, 1) == 0 }
    }

    /// A copy that `linux_copy_mapped` can make; nil where it would lie outside the file.
    func piece(into target: UnsafeMutableRawPointer, count: Int, at offset: UInt64) -> linux_piece? {
        guard let start, offset <= size, UInt64(count) <= size - offset else { return nil }
        return linux_piece(to: target, from: start + Int(offset), count: count)
    }

    /// The next range at or after `offset` that may hold other than zeros; nil where only holes follow. Where another file
    /// has taken the place of this one, everything may.
    func nextData(from offset: UInt64) -> Range<UInt64>? {
        guard offset < size else { return nil }
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

    /// The SHA-256 of a range.
    func digest(_ range: Range<UInt64>) throws(TableFault) -> [UInt8] {
        let buffer = ReadBuffer(count: 1 << 18)
        let stream = SHA256Stream()
        var offset = range.lowerBound
        while offset < range.upperBound {
            let part = buffer.prefix(Int(min(UInt64(buffer.bytes.count), range.upperBound - offset)))
            guard read(into: part, at: offset) else { throw .unreadable(EIO) }
            stream.update(UnsafeRawBufferPointer(part))
            offset += UInt64(part.count)
        }
        return stream.finish()
    }
}
