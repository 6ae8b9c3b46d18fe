import Testing

@testable import Migration

@Suite("The level of the data stream")
struct CompressionPaceTests {
    private static let batch: UInt64 = 512 << 10

    /// The levels that batches go over at, on a link that takes `onLink` seconds for each.
    /// - Parameter unit: seconds of compressing one at level 3.
    private static func levels(
        _ pace: inout CompressionPace, from first: Int32, batches: Int, onLink: Double, unit: Double = 0.002
    ) -> [Int32] {
        var level = first
        return (0..<batches).map { _ in
            let compressing = unit * CompressionPace.levels.first { $0.level == level }!.cost
            let waiting = max(0, onLink - compressing - 0.0005)
            level = pace.note(bytes: batch, reading: 0.0005, compressing: compressing, waiting: waiting) ?? level
            return level
        }
    }

    @Test("A link that is never waited for gets the lowest, but not before it can have been full")
    func fast() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, from: CompressionPace().level, batches: 400, onLink: 0)
        #expect(levels[8] == CompressionPace().level)
        #expect(levels.last == 1)
    }

    @Test("A slow link gets the highest, and is still waited for")
    func slow() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, from: CompressionPace().level, batches: 400, onLink: 0.1)
        #expect(levels.last == CompressionPace.levels.last!.level)
        #expect(levels == levels.sorted(), "never lower in between")
    }

    @Test(
        "It changes seldom, and settles where the link is what limits",
        arguments: [0.003, 0.004, 0.006, 0.009, 0.013, 0.02])
    func between(onLink: Double) {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, from: CompressionPace().level, batches: 2000, onLink: onLink)
        #expect(zip(levels, levels.dropFirst()).count { $0 != $1 } <= 4)
        let cost = CompressionPace.levels.first { $0.level == levels.last }!.cost * 0.002 + 0.0005
        #expect(cost <= onLink)
    }

    @Test(
        "A known rate says where to begin",
        arguments: [(10_000_000, 12), (100_000_000, 9), (1_000_000_000, 3)] as [(UInt64, Int32)])
    func known(rate: UInt64, level: Int32) {
        #expect(CompressionPace(bitsPerSecond: rate).level == level)
    }

    @Test("A link that becomes faster gets less compression, step by step")
    func faster() {
        var pace = CompressionPace()
        let before = Self.levels(&pace, from: CompressionPace().level, batches: 400, onLink: 0.1).last!
        let levels = Self.levels(&pace, from: before, batches: 600, onLink: 0)
        #expect(levels.last == 1)
        #expect(Set(levels) == Set(CompressionPace.levels.map(\.level)))
    }
}
