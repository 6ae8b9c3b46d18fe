import Testing

@testable import Migration

@Suite("The level of the data stream")
struct CompressionPaceTests {
    private static let batch: UInt64 = 512 << 10
    /// What a batch comes to.
    private static let sent: UInt64 = 160 << 10

    /// The levels that batches go over at, on a link that takes `onLink` seconds for each.
    /// - Parameters:
    ///   - unit: seconds of compressing one at level 3.
    ///   - share: of what a batch mostly comes to, for each of them.
    private static func levels(
        _ pace: inout CompressionPace, batches: Int, onLink: Double, unit: Double = 0.002,
        share: (Int) -> Double = { _ in 1 }
    ) -> [Int32] {
        (0..<batches).map { number in
            let level = pace.level
            let cost = CompressionPace.levels.first { $0.level == level }!.cost
            pace.note(
                bytes: batch, sent: UInt64(Double(sent) * share(number)), reading: 0.0005, compressing: unit * cost)
            if pace.isDue { _ = pace.decide(bytesPerSecond: Double(sent) / onLink) }
            return level
        }
    }

    private static func changes(_ levels: [Int32]) -> Int { zip(levels, levels.dropFirst()).count { $0 != $1 } }

    @Test("A link that is never waited for gets the lowest")
    func never() {
        var pace = CompressionPace()
        for _ in 0..<10 { pace.note(bytes: Self.batch, sent: Self.sent, reading: 0.001, compressing: 0.01) }
        #expect(pace.isDue && pace.decide(bytesPerSecond: nil) == 1)
        #expect(pace.level == 1 && !pace.isDue)
    }

    @Test("As long as nothing has arrived, nothing is known")
    func unknown() {
        var pace = CompressionPace()
        for _ in 0..<10 { pace.note(bytes: Self.batch, sent: Self.sent, reading: 0.001, compressing: 0.01) }
        #expect(pace.decide(bytesPerSecond: 0) == nil)
    }

    @Test("A slow link gets the highest, though not at once")
    func slow() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, batches: 400, onLink: 0.1)
        #expect(levels.last == CompressionPace.levels.last!.level)
        #expect(levels == levels.sorted() && levels[10] == 6)
    }

    @Test(
        "It changes seldom, and settles at the highest that leaves the link to limit",
        arguments: [0.002, 0.003, 0.004, 0.006, 0.009, 0.013, 0.02])
    func between(onLink: Double) {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, batches: 2000, onLink: onLink)
        #expect(Self.changes(levels) <= 4)
        let costs = CompressionPace.levels.map { (level: $0.level, seconds: $0.cost * 0.002 + 0.0005) }
        let settled = levels.last!
        #expect(settled >= costs.last { $0.seconds <= onLink * 0.8 }?.level ?? 1)
        #expect(settled == 1 || costs.first { $0.level == settled }!.seconds <= onLink)
    }

    @Test("Stretches that hardly shrink between others that shrink to little do not change it back and forth")
    func stretches() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, batches: 4000, onLink: 0.006) { $0 / 64 % 3 == 0 ? 2.6 : 0.2 }
        #expect(Self.changes(levels) <= 6)
    }

    @Test("Where other work slows compressing down, it gets easier")
    func busier() {
        var pace = CompressionPace()
        let before = Self.levels(&pace, batches: 1000, onLink: 0.006).last!
        let after = Self.levels(&pace, batches: 1000, onLink: 0.006, unit: 0.005).last!
        #expect(after < before && after >= 1)
    }

    @Test("A link that becomes slower gets more, one that becomes faster less")
    func other() {
        var pace = CompressionPace()
        let first = Self.levels(&pace, batches: 1000, onLink: 0.004).last!
        let slower = Self.levels(&pace, batches: 1000, onLink: 0.02).last!
        #expect(slower > first)
        #expect(Self.levels(&pace, batches: 1000, onLink: 0.001).last! == 1)
    }

    @Test(
        "A known rate says where to begin",
        arguments: [(10_000_000, 12), (100_000_000, 6), (1_000_000_000, 3)] as [(UInt64, Int32)])
    func known(rate: UInt64, level: Int32) {
        #expect(CompressionPace(bitsPerSecond: rate).level == level)
    }
}
