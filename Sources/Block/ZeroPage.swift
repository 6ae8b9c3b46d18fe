import Glibc

/// Zeros to write where a file system can't make them itself. Never written to, so any thread may read it.
final class ZeroPage: @unchecked Sendable {
    static let count = 64 << 10

    let bytes: UnsafeRawPointer

    init() {
        // calloc of this size maps untouched pages: they cost nothing until used.
        bytes = UnsafeRawPointer(calloc(1, Self.count)!)
    }
}
