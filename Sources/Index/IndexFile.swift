import Block
import Glibc

/// A file of the index, open for reading as long as this object lives.
///
/// Read with pread and not mapped: a mapped file that is cut short kills the process that touches it.
final class IndexFile: Sendable {
    let path: String
    /// Bytes, when it was opened.
    let size: UInt64
    private let descriptor: CInt

    init(path: String) throws(TableFault) {
        self.path = path
        // Non-blocking, so that a named pipe that lies in the directory can't hold us up.
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw errno == ENOENT ? .gone : .unreadable(errno) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw .foreign
        }
        size = UInt64(info.st_size)
    }

    deinit { close(descriptor) }

    /// Fills `buffer`; false where the file ends first or can't be read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    /// The SHA-256 of a range, every piece of which is also shown to the caller, in order; pieces are
    /// multiples of 8 bytes where the range is.
    func digest(
        _ range: Range<UInt64>, piece: (UnsafeRawBufferPointer) throws(TableFault) -> Void = { _ in }
    ) throws(TableFault) -> [UInt8] {
        let buffer = ReadBuffer(count: 1 << 18)
        let stream = SHA256Stream()
        var offset = range.lowerBound
        while offset < range.upperBound {
            let part = buffer.prefix(Int(min(UInt64(buffer.bytes.count), range.upperBound - offset)))
            guard read(into: part, at: offset) else { throw .unreadable(EIO) }
            stream.update(UnsafeRawBufferPointer(part))
            try piece(UnsafeRawBufferPointer(part))
            offset += UInt64(part.count)
        }
        return stream.finish()
    }
}
