import Glibc
import NIOConcurrencyHelpers

/// The bytes of a stored file as far as they were used lately, at the places in memory at which a mapping would have them.
///
/// A page that was dropped reads as zeros. So whoever copies it at that moment misses, as with a page that was never read.
///
/// `@unchecked Sendable`: the memory is written under the lock, and removed with the object.
package final class StoredPages: @unchecked Sendable {
    /// Bytes that are read together: the fingerprints of 16 MiB.
    static let pageSize = 64 << 10
    /// Pages that are read together at most, where a whole file is read.
    private static let longestRun: UInt64 = 64
    /// The table of an image of 64 TiB. A head that says more is no file of a site.
    package static let largest: UInt64 = 1 << 38

    let file: any StoredFile
    let start: UnsafeMutableRawPointer
    private let size: Int
    private let cache: PageCache
    /// The pages that are here, and whether they were used since the cache has last asked.
    private let pages = NIOLockedValueBox<[UInt64: Bool]>([:])

    init(_ file: any StoredFile, cache: PageCache = .shared) throws(TableFault) {
        guard file.size > 0, file.size <= Self.largest else { throw .truncated }
        // Hosts may publish many of them.
        guard cache.reserve(Int(file.size)) else { throw .unreadable(ENOMEM) }
        self.file = file
        self.cache = cache
        size = Int(file.size)
        // Only addresses are taken; memory comes with the pages.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let start = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else {
            let code = errno
            cache.release(size)
            throw .unreadable(code)
        }
        self.start = start
    }

    deinit {
        munmap(start, size)
        cache.release(size)
    }

    /// Sees that a range is here; may block for the store.
    /// - Parameter range: Within the file.
    /// - Returns: False if the store does not give it.
    func load(_ range: Range<UInt64>) -> Bool {
        guard !range.isEmpty else { return true }
        let size = UInt64(Self.pageSize)
        let wanted = range.lowerBound / size...(range.upperBound - 1) / size
        let missing = pages.withLockedValue { pages in
            wanted.filter { number in
                guard pages[number] != nil else { return true }
                pages[number] = true
                return false
            }
        }
        var rest = missing[...]
        while let first = rest.first {
            let run = rest.enumerated().prefix { $1 == first + UInt64($0) && UInt64($0) < Self.longestRun }.count
            guard read(first..<first + UInt64(run)) else { return false }
            rest = rest.dropFirst(run)
        }
        return true
    }

    private func read(_ numbers: Range<UInt64>) -> Bool {
        let size = UInt64(Self.pageSize)
        let bytes = numbers.lowerBound * size..<min(numbers.upperBound * size, file.size)
        let buffer = ReadBuffer(count: bytes.count)
        guard file.read(into: buffer.bytes, at: bytes.lowerBound) else { return false }
        let added = pages.withLockedValue { pages in
            numbers.filter { number in
                guard pages[number] == nil else { return false }
                let offset = Int((number - numbers.lowerBound) * size)
                let count = min(Self.pageSize, buffer.bytes.count - offset)
                memcpy(start + Int(number * size), buffer.bytes.baseAddress! + offset, count)
                pages[number] = true
                return true
            }
        }
        cache.add(added, of: self)
        return true
    }

    /// Gives the memory of a page back, unless it was used since the last call for it.
    func drop(_ number: UInt64) -> Bool {
        pages.withLockedValue { pages in
            guard pages[number] == false else {
                if pages[number] != nil { pages[number] = false }
                return pages[number] == nil
            }
            pages[number] = nil
            madvise(
                start + Int(number) * Self.pageSize, min(Self.pageSize, size - Int(number) * Self.pageSize),
                MADV_DONTNEED)
            return true
        }
    }
}
