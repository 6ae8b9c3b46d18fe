import TestSupport
import Testing

/// Streams that arrive in pieces of random sizes.
enum StreamPieces {
    private static let rounds = 60

    static func sizes(_ random: inout Seeded) -> ClosedRange<Int> {
        [1...1, 1...20, 1...5000, 4000...9000, 1...100_000].randomElement(using: &random)!
    }

    /// Any pieces give the same parts.
    static func expectSameParts(of make: (inout Seeded) -> ExpectedStream) {
        var random = Seeded.fresh()
        for _ in 0..<rounds {
            let made = make(&random)
            let sizes = sizes(&random)
            let parsed = ParsedStream(made.bytes, sizes: { Int.random(in: sizes, using: &random) })
            #expect(parsed.parts == made.parts)
            #expect(parsed.problem == nil)
        }
    }

    /// If nothing more comes for a while at any place, all is covered, and all pages that came whole are found.
    static func expectWholePages(of make: (inout Seeded) -> ExpectedStream) {
        var random = Seeded.fresh()
        for _ in 0..<rounds {
            let made = make(&random)
            let sizes = sizes(&random)
            var waits: Set<Int> = []
            let parsed = ParsedStream(
                made.bytes, sizes: { Int.random(in: sizes, using: &random) },
                waits: { offset in
                    guard random.chance(50) else { return false }
                    waits.insert(offset)
                    return true
                })
            #expect(parsed.problem == nil)
            #expect(made.whole(waits).isSubset(of: parsed.places))
        }
    }
}
