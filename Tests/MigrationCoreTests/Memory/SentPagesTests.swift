import Hashing
import TestSupport
import Testing

@testable import MigrationCore

@Suite("The pages that were sent as bytes")
struct SentPagesTests {
    private static func content(_ number: UInt64) -> Fingerprint { Fingerprint(high: 1, low: number) }

    @Test("Pages are found by their latest number as long as they are kept", arguments: [0, 1, 2, 5, 30])
    func ring(_ capacity: Int) {
        var random = Seeded.fresh()
        for contents in [3, 8, 100] as [UInt64] {
            var pages = SentPages(capacity: capacity)
            var all: [Fingerprint] = []
            for _ in 0..<60 {
                let new = (0..<Int.random(in: 0...7, using: &random)).map { _ in
                    Self.content(.random(in: 0..<contents, using: &random))
                }
                pages.add(new)
                all += new
                #expect(pages.count == UInt64(all.count))
                let kept = SentPages.kept(of: pages.count, capacity: capacity)
                #expect(kept.count == min(all.count, capacity) && kept.upperBound == pages.count)
                for content in (0..<contents).map(Self.content) {
                    let last = all.lastIndex(of: content).map(UInt64.init)
                    #expect(pages.find(content) == last.flatMap { kept.contains($0) ? $0 : nil })
                }
            }
        }
    }

    @Test("The destination has room for no page -> none is found")
    func noRoom() {
        var pages = SentPages(capacity: 0)
        pages.add([.zero, .zero])
        #expect(pages.find(.zero) == nil && pages.count == 2)
        #expect(SentPages.kept(of: 2, capacity: 0).isEmpty)
    }

    @Test("An empty history, and one of the largest number -> ranges that do not overflow")
    func ranges() {
        #expect(SentPages.kept(of: 0, capacity: 5) == 0..<0)
        #expect(SentPages.kept(of: 3, capacity: .max) == 0..<3)
        #expect(SentPages.kept(of: .max, capacity: 1) == UInt64.max - 1..<UInt64.max)
    }
}
