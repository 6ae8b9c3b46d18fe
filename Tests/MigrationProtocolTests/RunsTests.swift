import TestSupport
import Testing

@testable import MigrationProtocol

@Suite("Runs of blocks")
struct RunsTests {
    @Test("What was named twice is named once, in order")
    func union() {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let sets = (0..<2).map { _ in Set((0..<UInt64(60)).filter { _ in .random(in: 0..<3, using: &random) == 0 })
            }
            let union = Self.runs(of: sets[0]).union(Self.runs(of: sets[1]))
            #expect(union == Self.runs(of: sets[0].union(sets[1])))
            #expect((0..<UInt64(70)).allSatisfy { union.holds($0) == (sets[0].contains($0) || sets[1].contains($0)) })
        }
    }

    @Test("Parts have so many blocks, but for the last, and all together the same")
    func parts() {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let blocks = Set((0..<UInt64(60)).filter { _ in .random(in: 0..<3, using: &random) != 0 })
            let size = UInt64.random(in: 1...20, using: &random)
            let parts = Self.runs(of: blocks).parts(of: size)
            #expect(parts.joined().flatMap { Array($0) } == blocks.sorted())
            #expect(parts.dropLast().allSatisfy { $0.reduce(0) { $0 + $1.count } == Int(size) })
            #expect(parts.last.map { (1...Int(size)).contains($0.reduce(0) { $0 + $1.count }) } ?? true)
        }
    }

    /// Ascending, no two of which touch.
    private static func runs(of blocks: Set<UInt64>) -> [Range<UInt64>] {
        blocks.sorted().reduce(into: []) { runs, block in
            if let last = runs.last, last.upperBound == block {
                runs[runs.count - 1] = last.lowerBound..<block + 1
            } else {
                runs.append(block..<block + 1)
            }
        }
    }
}
