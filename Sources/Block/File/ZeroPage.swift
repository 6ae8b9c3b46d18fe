import Glibc

/// Zeros to write where a file system can't make them itself. Never written to, so any thread may read it.
final class ZeroPage: @unchecked Sendable {
    static let count = 64 << 10

    /// On a page's boundary, as O_DIRECT wants it.
    let bytes: UnsafeRawPointer

    init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.count, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.count)
        bytes = UnsafeRawPointer(memory)
    }
}
