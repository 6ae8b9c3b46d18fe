import Block
import Glibc
import NIOConcurrencyHelpers

/// An unnamed temporary file; the system deletes it when it is closed or the process ends. Any thread may use it.
final class ScratchFile: Sendable {
    private let path: String
    private let descriptor: CInt
    private let end = NIOLockedValueBox<UInt64>(0)

    init(in directory: IndexDirectory) throws {
        path = directory.path(of: IndexFileName.temporary(for: IndexFileName.newCatalogue()))
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileError("create", path) }
        unlink(path)
    }

    deinit { close(descriptor) }

    /// Appends bytes and returns their offset.
    func append(_ bytes: UnsafeRawBufferPointer) throws -> UInt64 {
        let offset = end.withLockedValue { end in
            defer { end += UInt64(bytes.count) }
            return end
        }
        try bytes.writeAll(to: descriptor, at: offset, path)
        return offset
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try bytes.writeAll(to: descriptor, at: offset, path)
    }

    /// Sets the size in bytes; bytes that were not written are zero.
    func setSize(_ size: UInt64) throws {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw FileError("set the size of", path) }
    }

    /// Maps the file, which then lives as long as the mapping too.
    func mapped() throws -> IndexFile {
        do throws(TableFault) { return try IndexFile(descriptor: descriptor, path: path) } catch {
            throw error.fileError(path)
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FileError("read", path, code: count == 0 ? EIO : errno) }
            done += count
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Writes all bytes; `path` only names the file in an error.
    func writeAll(to descriptor: CInt, at offset: UInt64, _ path: String) throws {
        var done = 0
        while done < count {
            let count = pwrite(descriptor, baseAddress! + done, count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FileError("write", path, code: count == 0 ? EIO : errno) }
            done += count
        }
    }
}
