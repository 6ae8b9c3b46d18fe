import Block
import BlockModel
import CLinux
import Glibc

/// A raw file or block device that is being indexed.
///
/// Indexing leaves the host's page cache as it was: cached pages stay, and others are dropped after they have been
/// read.
struct FileSource: ImageSource {
    private static let page: UInt64 = 4096

    private let image: RawImage
    var size: UInt64 { image.size }
    /// Large enough for few calls, small enough to be hashed while it is in the processor's cache.
    let preferredRead = 128 << 10
    let extraReaders = 0
    var descriptor: CInt? { image.descriptor }

    init(_ image: RawImage) {
        self.image = image
        // Kernel read-ahead would hide which pages were cached before; `readAhead` replaces it.
        posix_fadvise(image.descriptor, 0, 0, POSIX_FADV_RANDOM)
    }

    func stamp() throws -> ImageStamp { try image.stamp() }

    func identity() throws -> ImageIdentity? { try image.identity() }

    func nextData(from offset: UInt64) throws -> Range<UInt64>? { try image.nextData(from: offset) }

    /// Returns the pieces of the range that are not cached yet.
    func readAhead(_ range: Range<UInt64>) -> [Range<UInt64>] {
        if linux_is_cached(image.descriptor, off_t(range.lowerBound), range.count) != 0 { return [] }
        let cold = coldRanges(range)
        for piece in cold { advise(piece, POSIX_FADV_WILLNEED) }
        return cold
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try image.read(into: buffer, at: offset)
    }

    func release(_ ranges: [Range<UInt64>]) {
        for range in ranges { advise(range, POSIX_FADV_DONTNEED) }
    }

    private func advise(_ range: Range<UInt64>, _ advice: CInt) {
        posix_fadvise(image.descriptor, off_t(range.lowerBound), off_t(range.count), advice)
    }

    private func coldRanges(_ range: Range<UInt64>) -> [Range<UInt64>] {
        let start = range.lowerBound / Self.page * Self.page
        let count = Int((range.upperBound - start + Self.page - 1) / Self.page)
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { pages in
            // If the kernel does not tell, treat all pages as cached and leave them alone.
            guard
                linux_cached_pages(
                    image.descriptor, off_t(start), Int(range.upperBound - start), pages.baseAddress!) == 0
            else { return [] }
            var cold: [Range<UInt64>] = []
            for index in 0..<count where pages[index] & 1 == 0 {
                let place = start + UInt64(index) * Self.page
                cold.append(joining: place..<place + Self.page)
            }
            return cold
        }
    }
}
