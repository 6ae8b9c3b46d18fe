import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Index

@Suite("Pages of files that are not mapped")
struct StoredPagesTests {
    private final class File: StoredFile {
        let bytes: [UInt8]
        let version = "1"
        let isDamaged = false
        func checkNext() {}
        let reads = NIOLockedValueBox<[Range<UInt64>]>([])
        let isAway = NIOLockedValueBox(false)
        var size: UInt64 { UInt64(bytes.count) }
        var allocated: UInt64 { size }

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
            guard !isAway.withLockedValue({ $0 }) else { return false }
            reads.withLockedValue { $0.append(offset..<offset + UInt64(buffer.count)) }
            buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + buffer.count])
            return true
        }

        func nextData(from offset: UInt64) -> Range<UInt64>? { offset < size ? offset..<size : nil }
    }

    private static let page = UInt64(StoredPages.pageSize)

    private func bytes(_ pages: StoredPages, _ range: Range<UInt64>) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: pages.start + Int(range.lowerBound), count: range.count))
    }

    @Test("A range is asked for -> its pages are read once and together, up to the end of the file")
    func loaded() throws {
        var random = Seeded.fresh()
        let file = File(random.bytes(5 * StoredPages.pageSize + 100))
        let pages = try StoredPages(file, cache: PageCache(limit: 1 << 20))
        #expect(pages.load(Self.page + 5..<Self.page + 6))
        #expect(pages.load(0..<4 * Self.page))
        #expect(pages.load(0..<file.size))
        let (all, page) = (file.reads.withLockedValue { $0 }, Self.page)
        #expect(all == [page..<2 * page, 0..<page, 2 * page..<4 * page, 4 * page..<file.size])
        #expect(bytes(pages, 0..<file.size) == file.bytes)
    }

    @Test("More pages than the cache holds -> the ones that were not used lately are dropped, and read again")
    func dropped() throws {
        var random = Seeded.fresh()
        let file = File(random.bytes(8 * StoredPages.pageSize))
        let pages = try StoredPages(file, cache: PageCache(limit: 3 * StoredPages.pageSize))
        for number in 0..<8 as Range<UInt64> {
            #expect(pages.load(number * Self.page..<number * Self.page + 1))
        }
        let here = (0..<8 as Range<UInt64>).filter { number in
            bytes(pages, number * Self.page..<(number + 1) * Self.page).contains { $0 != 0 }
        }
        #expect(here.count == 3 && here.contains(7), "\(here)")
        #expect(pages.load(0..<Self.page) && bytes(pages, 0..<Self.page) == Array(file.bytes[..<StoredPages.pageSize]))
    }

    @Test("Files of many hosts -> as many addresses as the limit, and they come back")
    func addresses() throws {
        let cache = PageCache(limit: 1 << 20, addresses: 2500)
        let file = File([UInt8](repeating: 7, count: 1000))
        do {
            let pages = try (0..<2).map { _ in try StoredPages(file, cache: cache) }
            #expect(throws: TableFault.self) { try StoredPages(file, cache: cache) }
            withExtendedLifetime(pages) {}
        }
        #expect(throws: Never.self) { try StoredPages(file, cache: cache) }
    }

    @Test("The store does not answer -> false, and zeros; a size that makes no sense -> refused")
    func away() throws {
        let file = File([UInt8](repeating: 7, count: 1000))
        let pages = try StoredPages(file, cache: PageCache(limit: 1 << 20))
        file.isAway.withLockedValue { $0 = true }
        #expect(!pages.load(0..<1000) && bytes(pages, 0..<1000) == [UInt8](repeating: 0, count: 1000))
        file.isAway.withLockedValue { $0 = false }
        #expect(pages.load(0..<1000) && bytes(pages, 0..<1000) == file.bytes)
        #expect(throws: TableFault.truncated) { try StoredPages(File([]), cache: PageCache(limit: 1 << 20)) }
    }
}
