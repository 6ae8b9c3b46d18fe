import Glibc

/// A file's bytes as shared memory: what is written there survives the process, though not the machine.
///
/// `@unchecked Sendable`: whoever has the address decides how it is used; the memory lives as long as this object.
final class MappedMemory: @unchecked Sendable {
    let address: UnsafeMutableRawPointer
    private let count: Int

    /// Maps the first `count` bytes, which the file has space for.
    /// - Throws: `FileError`.
    init(_ descriptor: CInt, count: Int, path: String) throws {
        let allocated = posix_fallocate(descriptor, 0, off_t(count))
        guard allocated == 0 else { throw FileError("make room for", path, code: allocated) }
        let memory = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard memory != MAP_FAILED, let memory else { throw FileError("map", path) }
        address = memory
        self.count = count
    }

    deinit { munmap(address, count) }
}
