import Index
import TestSupport
import Testing

@testable import Migration

@Suite("The memory of repeated blocks")
struct RepeatCacheTests {
    @Test("It never names a block that was not noted with that very fingerprint, and never grows")
    func isHonest() {
        var random = Seeded.fresh()
        var cache = RepeatCache(blocks: 64)
        var noted: [Fingerprint: Set<UInt64>] = [:]
        for block in 0..<10_000 as Range<UInt64> {
            let fingerprint = Fingerprint(
                high: UInt64.random(in: 0..<3, using: &random),
                low: UInt64.random(in: 0..<500, using: &random))
            if let found = cache.block(with: fingerprint) {
                #expect(noted[fingerprint]?.contains(found) == true)
            }
            cache.note(fingerprint, at: block)
            if fingerprint != .zero {
                noted[fingerprint, default: []].insert(block)
                #expect(cache.block(with: fingerprint) == block)
            }
        }
    }
}
