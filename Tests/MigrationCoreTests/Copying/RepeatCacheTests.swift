import TestSupport
import Testing

@testable import MigrationCore

@Suite("The memory of repeated blocks")
struct RepeatCacheTests {
    @Test("It never names a block that was not noted with that very prefix, and never grows")
    func isHonest() {
        var random = Seeded.fresh()
        var cache = RepeatCache(blocks: 64)
        var noted: [UInt64: Set<UInt64>] = [:]
        for block in 0..<10_000 as Range<UInt64> {
            let prefix =
                UInt64.random(in: 0..<3, using: &random) << 40 | UInt64.random(in: 0..<500, using: &random)
            if let found = cache.block(with: prefix) {
                #expect(noted[prefix]?.contains(found) == true)
            }
            cache.note(prefix, at: block)
            if prefix != 0 {
                noted[prefix, default: []].insert(block)
                #expect(cache.block(with: prefix) == block)
            }
        }
    }
}
