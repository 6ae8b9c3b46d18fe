import MigrationCore
import TestSupport
import Testing

@testable import Migration

@Suite("Pages that are kept at the destination")
struct KeptPagesTests {
    @Test("Batches of any size, with pages at any distance -> the latest pages are read as they came")
    func latestPages() throws {
        var random = Seeded.fresh()
        for capacity in [1, 3, 64, 100, 300] {
            let scratch = Scratch()
            var kept = try KeptPages(capacity: capacity, directory: scratch.path)
            var all: [[UInt8]] = []
            for _ in 0..<12 {
                let gap = random.chance(50) ? 0 : StreamPart.headerBytes
                let count = Int.random(in: 0...2 * min(capacity, 120), using: &random)
                let bytes = random.bytes(count * (gap + StreamPart.pageBytes))
                let pages = (0..<count).map { $0 * (gap + StreamPart.pageBytes) + gap }
                try kept.add(pages, of: bytes)
                all += pages.map { Array(bytes[$0..<$0 + StreamPart.pageBytes]) }
                for number in all.indices.suffix(capacity) {
                    var page = [UInt8](repeating: 0, count: StreamPart.pageBytes)
                    try page.withUnsafeMutableBytes { try kept.read(UInt64(number), into: $0) }
                    if page != all[number] { Issue.record("page \(number) of \(capacity)") }
                }
            }
        }
    }
}
