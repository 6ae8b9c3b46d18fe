import Glibc

/// Page-aligned memory. Large pieces are mapped and unmapped, since malloc would keep them.
enum PageMemory {
    private static let mapped = 128 << 10

    /// - Parameter count: bytes, a multiple of 4096.
    /// - Returns: nil if there is no memory.
    static func allocate(_ count: Int) -> UnsafeMutableRawPointer? {
        guard count >= mapped else { return aligned_alloc(4096, count) }
        let memory = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        return memory == MAP_FAILED ? nil : memory
    }

    /// - Parameter count: the same as for `allocate`.
    static func free(_ memory: UnsafeMutableRawPointer, _ count: Int) {
        if count >= mapped { munmap(memory, count) } else { Glibc.free(memory) }
    }
}
