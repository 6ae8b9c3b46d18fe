import CLinux
import Glibc
import TestSupport
import Testing

@testable import Index

/// Indexing leaves the host's page cache as it was.
@Suite struct PageCacheTests {
    private func cached(_ path: String, _ range: Range<Int>) -> Double {
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        var pages = [UInt8](repeating: 0, count: range.count / 4096)
        precondition(linux_cached_pages(descriptor, off_t(range.lowerBound), range.count, &pages) == 0)
        return Double(pages.count { $0 & 1 == 1 }) / Double(pages.count)
    }

    @Test func indexingLeavesThePageCacheUnchanged() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let half = 16 << 20
        let piece = random.bytes(1 << 16)
        let image = scratch.image("a.raw", Array(repeatElement(piece, count: 2 * half >> 16).joined()))
        let descriptor = open(image, O_RDWR)
        defer { close(descriptor) }
        fsync(descriptor)
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        try #require(cached(image, 0..<2 * half) < 0.1, "the file system keeps everything in memory")
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM)
        var buffer = [UInt8](repeating: 0, count: half)
        pread(descriptor, &buffer, half, 0)
        #expect(cached(image, 0..<half) > 0.99)
        #expect(cached(image, half..<2 * half) < 0.1)
        let store = try IndexStore(directory: scratch.index)
        #expect(try store.add(image, threads: 2).neighbour.distinct == 16)
        #expect(cached(image, 0..<half) > 0.95)
        #expect(cached(image, half..<2 * half) < 0.1)
    }

    @Test func aScanKeepsToItsRate() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let image = scratch.image("a.raw", random.bytes(6 << 20))
        let began = ContinuousClock.now
        _ = try IndexStore(directory: scratch.index).add(
            image, options: BuildOptions(threads: 2, bytesPerSecond: 10_485_760))
        // The first MiB is not delayed.
        #expect(began.duration(to: .now) >= .milliseconds(490))
    }
}
