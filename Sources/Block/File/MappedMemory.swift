import Glibc

/// A file's bytes as shared memory. Changes survive the process, but not a crash of the machine.
///
/// `@unchecked Sendable`: the users of the address synchronize themselves; the memory lives as long as this object.
final class MappedMemory: @unchecked Sendable {
    let address: UnsafeMutableRawPointer
    private let count: Int

    /// Reserves and maps the first `count` bytes of the file.
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
