import Glibc

/// Memory for many entries. It is mapped, since malloc would keep most of it for the rest of the process's life.
///
/// `@unchecked Sendable`: one thread at a time uses the entries.
final class EntryMemory: @unchecked Sendable {
    /// Uninitialised at first.
    let entries: UnsafeMutableBufferPointer<CatalogueEntry>

    init(count: Int) {
        let size = max(1, count) * MemoryLayout<CatalogueEntry>.stride
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else { fatalError("no memory for \(size) bytes") }
        entries = UnsafeMutableBufferPointer(
            start: memory.bindMemory(to: CatalogueEntry.self, capacity: max(1, count)), count: count)
    }

    deinit { munmap(entries.baseAddress!, max(1, entries.count) * MemoryLayout<CatalogueEntry>.stride) }
}
