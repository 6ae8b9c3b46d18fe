import TestSupport
import Testing

@testable import MigrationCore

@Suite("Anchors")
struct AnchorTableTests {
    private func count(_ bytes: ArraySlice<UInt8>, in table: inout AnchorTable) -> Int {
        Array(bytes).withUnsafeBytes { table.take($0) }
    }

    @Test("The same data at another offset -> most of its anchors are found, once")
    func shifted() {
        var random = Seeded.fresh()
        let bytes = random.bytes(1 << 20)
        var table = AnchorTable()
        bytes.withUnsafeBytes { table.add($0) }
        let expected = (1 << 20) / AnchorTable.interval
        let found = count(bytes[1000...], in: &table)
        #expect((expected * 8 / 10...expected * 12 / 10).contains(found))
        #expect(count(bytes[1000...], in: &table) == 0)
    }

    @Test("Other data -> hardly an anchor is found")
    func others() {
        var random = Seeded.fresh()
        var table = AnchorTable()
        random.bytes(1 << 20).withUnsafeBytes { table.add($0) }
        #expect(count(random.bytes(1 << 20)[...], in: &table) < 8)
        #expect(count([UInt8](repeating: 7, count: 1 << 20)[...], in: &table) < 8)
    }

    @Test("The blocks with most anchors are chosen, and only where that saves enough")
    func choice() {
        let scored = [(4, 30), (9, 2), (1, 31), (7, 0), (3, 29)].map {
            PrefixChoice.Scored(block: UInt64($0.0), anchors: $0.1)
        }
        let choice = PrefixChoice(of: scored, most: 3)
        #expect(choice.blocks == [1, 3, 4])
        #expect(!choice.isWorthIt(for: 1 << 20))
        let many = PrefixChoice(of: (0..<1000).map { PrefixChoice.Scored(block: $0, anchors: 32) }, most: 32768)
        #expect(many.isWorthIt(for: 64 << 20))
        #expect(!many.isWorthIt(for: 1 << 30), "less than 2 % of what is sent")
        #expect(PrefixChoice(of: [], most: 5).blocks.isEmpty)
    }

    @Test("A link that is fast, or near, is not worth a search")
    func links() {
        #expect(RelativeChoice.isWorthSearching(bitsPerSecond: 100_000_000, roundTrip: .zero))
        #expect(!RelativeChoice.isWorthSearching(bitsPerSecond: 1_000_000_000, roundTrip: .seconds(1)))
        #expect(RelativeChoice.isWorthSearching(bitsPerSecond: nil, roundTrip: .milliseconds(20)))
        #expect(!RelativeChoice.isWorthSearching(bitsPerSecond: nil, roundTrip: .milliseconds(1)))
    }

    @Test("Relatives: neither strangers nor twins, and only what the destination has")
    func relatives() {
        let candidates = RelativeChoice.candidates(hits: [5, 60, 495, 55, 0, 500, 61, 70], samples: 500)
        #expect(candidates.map(\.neighbour) == [7, 6, 1, 3])
        #expect(RelativeChoice.best(of: candidates, shares: [0.1, 0.5, 1, 1], known: 0.1)?.neighbour == 1)
        #expect(RelativeChoice.best(of: candidates, shares: [0.1, 0.2, 0, 0], known: 0.1) == nil)
        #expect(RelativeChoice.best(of: candidates, shares: [1, 1, 1, 1], known: 0.95) == nil)
        #expect(RelativeChoice.candidates(hits: [0, 0], samples: 0).isEmpty)
    }
}
