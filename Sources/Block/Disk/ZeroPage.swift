import Glibc

/// Zeros to write if a file system or server can't make them itself. They never change, so any thread may read them.
final class ZeroPage: @unchecked Sendable {
    static let count = 64 << 10

    /// Aligned to a page, for O_DIRECT.
    let bytes: UnsafeRawPointer

    init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.count, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.count)
        bytes = UnsafeRawPointer(memory)
    }
}
