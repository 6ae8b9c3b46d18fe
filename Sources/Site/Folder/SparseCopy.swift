import Block
import CLinux
import Glibc

/// Copies files into the store; holes stay holes.
enum SparseCopy {
    private static let piece = 1 << 20

    /// Copies a file under a temporary name, makes it durable and renames it. A kill leaves the old file or the new one.
    /// - Parameter isWanted: Asked before each piece whether to go on.
    /// - Throws: `FileError`; `CancellationError` once `isWanted` returns false.
    static func replace(_ target: String, with source: String, _ isWanted: () -> Bool) throws {
        let input = open(source, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else { throw FileError("open", source) }
        defer { close(input) }
        let temporary = "\(target).\(String(UInt64.random(in: 0 ... .max), radix: 16)).tmp"
        let output = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard output >= 0 else { throw FileError("create", temporary) }
        defer { close(output) }
        do {
            try copy(input, source, to: output, temporary, isWanted)
            guard fsync(output) == 0 else { throw FileError("flush", temporary) }
            guard rename(temporary, target) == 0 else { throw FileError("rename", temporary) }
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private static func copy(
        _ input: CInt, _ source: String, to output: CInt, _ target: String, _ isWanted: () -> Bool
    ) throws {
        var info = stat()
        guard fstat(input, &info) == 0 else { throw FileError("read", source) }
        guard ftruncate(output, info.st_size) == 0 else { throw FileError("set the size of", target) }
        try withUnsafeTemporaryAllocation(byteCount: piece, alignment: 4096) { buffer in
            var offset: off_t = 0
            while offset < info.st_size {
                guard isWanted() else { throw CancellationError() }
                let start = lseek(input, offset, linux_seek_data)
                // ENXIO: only holes follow. Elsewhere all is data.
                if start < 0, errno == ENXIO { return }
                if start > offset { offset = start }
                let wanted = min(piece, Int(info.st_size - offset))
                let count = pread(input, buffer.baseAddress!, wanted, offset)
                guard count > 0 else { throw FileError("read", source, code: count == 0 ? EIO : errno) }
                try write(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: output, at: offset, target)
                offset += off_t(count)
            }
        }
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer, to output: CInt, at offset: off_t, _ target: String
    ) throws {
        var written = 0
        while written < bytes.count {
            let count = pwrite(output, bytes.baseAddress! + written, bytes.count - written, offset + off_t(written))
            guard count > 0 else { throw FileError("write", target, code: count == 0 ? EIO : errno) }
            written += count
        }
    }
}
