import Glibc

/// Reads small files of `/proc` and `/sys`.
enum SystemFile {
    /// Calls `body` with the first bytes of the file at `path`, at most `limit`; with nil if it can't be read.
    static func read<Value>(_ path: String, limit: Int, _ body: (UnsafeRawBufferPointer?) -> Value) -> Value {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return body(nil) }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(byteCount: limit, alignment: 8) { room in
            var count = 0
            while count < limit {
                let got = Glibc.read(descriptor, room.baseAddress! + count, limit - count)
                guard got > 0 else { break }
                count += got
            }
            return body(UnsafeRawBufferPointer(rebasing: room[..<count]))
        }
    }

    /// Returns the file at `path` as text, at most 4096 bytes of it; nil if it can't be read.
    static func text(_ path: String) -> String? {
        read(path, limit: 4096) { bytes in bytes.map { String(decoding: $0, as: UTF8.self) } }
    }
}
