import Testing

@testable import MigrationCore

@Suite("The level of the data stream")
struct CompressionPaceTests {
    private static let batch: UInt64 = 512 << 10
    /// What a batch comes to.
    private static let sent: UInt64 = 160 << 10

    /// The levels that batches go over at, on a link that takes `onLink` seconds for each, while up to 64 wait for it, and
    /// up to 4 are in the kernel's buffer.
    /// - Parameters:
    ///   - unit: seconds of compressing one at level 3.
    ///   - others: of them that are at work beside this one, with as much to do.
    ///   - share: of what a batch mostly comes to, for each of them.
    ///   - slowness: by how much longer than mostly the link takes for as much, for each of them.
    private static func levels(
        _ pace: inout CompressionPace, batches: Int, onLink: Double, unit: Double = 0.002, others: Double = 0,
        share: (Int) -> Double = { _ in 1 }, slowness: (Int) -> Double = { _ in 1 }
    ) -> [Int32] {
        var levels: [Int32] = []
        var (prepared, taken, carried) = ([Double](), [Double](), [Double]())
        for number in 0..<batches {
            let level = pace.level
            levels.append(level)
            let compressing = unit * cost(of: level)
            let preparing = (0.0005 + compressing) * (1 + others)
            prepared.append(max(prepared.last ?? 0, number < 64 ? 0 : taken[number - 64]) + preparing)
            let ready = max(prepared[number], taken.last ?? 0)
            let idle = ready - (taken.last ?? 0)
            taken.append(max(ready, number < 4 ? 0 : carried[number - 4]))
            let waiting = taken[number] - ready
            let ahead = min(1, (taken[number] - prepared[number]) / (64 * preparing))
            carried.append(max(taken[number], carried.last ?? 0) + onLink * share(number) * slowness(number))
            let sent = UInt64(Double(Self.sent) * share(number))
            pace.note(
                prepared: CompressionPace.Batch(
                    bytes: batch, sent: sent, level: level,
                    work: .init(bytes: batch, reading: 0.0005, compressing: compressing, elapsed: preparing)))
            pace.note(
                sent: CompressionPace.Sending(
                    bytes: batch, sent: sent, waiting: waiting, elapsed: idle + waiting, ahead: ahead))
        }
        return levels
    }

    private static func cost(of level: Int32) -> Double { CompressionPace.levels.first { $0.level == level }!.cost }

    private static func changes(_ levels: [Int32]) -> Int { zip(levels, levels.dropFirst()).count { $0 != $1 } }

    @Test("Threads are there -> one begins, and keeps a link of its speed alone")
    func alone() {
        var pace = CompressionPace(threads: 2)
        #expect(pace.level == 6 && !pace.usesThreads)
        let levels = Self.levels(&pace, batches: 800, onLink: 0.05)
        #expect(!pace.usesThreads && levels.last == 12 && levels == levels.sorted())
    }

    @Test("A link that is too fast for one thread gets several, and fewer when it turns out slow")
    func together() {
        var pace = CompressionPace(threads: 2)
        _ = Self.levels(&pace, batches: 800, onLink: 0.003)
        #expect(pace.usesThreads && pace.level < 6)
        _ = Self.levels(&pace, batches: 1200, onLink: 0.08)
        #expect(!pace.usesThreads && pace.level >= 9)
        #expect(CompressionPace(bitsPerSecond: 10_000_000_000, threads: 2).usesThreads)
        let known = CompressionPace(bitsPerSecond: 100_000_000, threads: 2)
        #expect(known.level == 9 && !known.usesThreads)
        var single = CompressionPace(threads: 1)
        _ = Self.levels(&single, batches: 1000, onLink: 0)
        #expect(!single.usesThreads && single.level == 1)
    }

    @Test("A lowest level -> it holds on a link that is never waited for")
    func lowest() {
        var pace = CompressionPace(threads: 2)
        pace.stay(atLeast: 6)
        #expect(Self.levels(&pace, batches: 400, onLink: 0).allSatisfy { $0 >= 6 })
    }

    @Test("Something else keeps link and thread waiting -> the level stays")
    func waitsForScan() {
        var pace = CompressionPace(threads: 2)
        for _ in 0..<200 {
            pace.note(
                prepared: CompressionPace.Batch(
                    bytes: Self.batch, sent: Self.sent, level: pace.level,
                    work: .init(bytes: Self.batch, reading: 0.0005, compressing: 0.009, elapsed: 0.0095)))
            pace.note(
                sent: CompressionPace.Sending(
                    bytes: Self.batch, sent: Self.sent, waiting: 0, elapsed: 0.05,
                    stretch: .init(bytesPerSecond: 12_500_000)))
        }
        #expect(pace.level == 6 && !pace.usesThreads)
    }

    @Test("A link that is never waited for gets the lowest, soon")
    func never() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, batches: 100, onLink: 0)
        #expect(levels.last == 1 && levels == levels.sorted(by: >))
        #expect(levels[45] == 1)
    }

    @Test("A slow link gets the highest, though not at once")
    func slow() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, batches: 400, onLink: 0.1)
        #expect(levels.last == CompressionPace.levels.last!.level)
        #expect(levels == levels.sorted() && levels[10] == 6 && levels[48] > 6)
    }

    @Test(
        "It changes seldom, and settles at the highest that leaves the link to limit",
        arguments: [0.0015, 0.002, 0.003, 0.004, 0.006, 0.009, 0.013, 0.02], [0, 3] as [Double])
    func between(onLink: Double, others: Double) {
        var pace = CompressionPace()
        let onLink = onLink * (1 + others)
        let levels = Self.levels(&pace, batches: 2000, onLink: onLink, others: others)
        // It may fall at first, and then rise.
        let changed = zip(levels, levels.dropFirst()).filter { $0 != $1 }
        #expect(changed.count <= 6 && changed.drop { $0 > $1 }.allSatisfy { $0 < $1 }, "\(changed)")
        let costs = CompressionPace.levels.map { (level: $0.level, seconds: ($0.cost * 0.002 + 0.0005) * (1 + others)) }
        let settled = levels.last!
        #expect(settled >= costs.last { $0.seconds <= onLink * 0.8 }?.level ?? 1)
        #expect(settled == 1 || costs.first { $0.level == settled }!.seconds <= onLink)
    }

    @Test("Stretches that hardly shrink between others that shrink to little do not change it all the time")
    func stretches() {
        var pace = CompressionPace()
        let levels = Self.levels(&pace, batches: 6400, onLink: 0.006) { $0 / 64 % 2 == 0 ? 2 : 0.2 }
        #expect(Self.changes(levels) <= 4)
        #expect(levels.last! >= 3)
    }

    @Test("A link that has just begun seems slower than it is, and does not make the level rise")
    func beginning() {
        var pace = CompressionPace()
        // Slow start: 50 ms for each, then 1.
        let levels = Self.levels(&pace, batches: 200, onLink: 0.001, slowness: { $0 < 15 ? 50 : 1 })
        #expect(levels.allSatisfy { $0 <= 6 } && levels.last! <= 3)
    }

    /// The level after so many batches, one every 5 ms; `waiting` of it, all if nothing else is said, is the link's.
    private static func level(
        _ pace: CompressionPace, batches: Int, unit: Double, waiting: Double = 0.005, ahead: Double? = nil,
        stretch: LinkUse.Stretch = .init()
    ) -> Int32 {
        var pace = pace
        for _ in 0..<batches {
            let compressing = unit * cost(of: pace.level)
            pace.note(
                prepared: CompressionPace.Batch(
                    bytes: batch, sent: sent, level: pace.level,
                    work: .init(
                        bytes: batch, reading: 0.0005, compressing: compressing, elapsed: 0.0005 + compressing)))
            pace.note(
                sent: CompressionPace.Sending(
                    bytes: batch, sent: sent, waiting: waiting, elapsed: 0.005, stretch: stretch, ahead: ahead))
        }
        return pace.level
    }

    @Test("What comes to the other end counts, and not what the kernel takes")
    func carried() {
        #expect(Self.level(CompressionPace(), batches: 400, unit: 0.002) < 8)
        let slow = LinkUse.Stretch(wasFull: true, carried: 16 << 10, seconds: 0.005)
        #expect(Self.level(CompressionPace(), batches: 400, unit: 0.002, stretch: slow) == 12)
    }

    @Test("Where TCP says that a link is fast it falls at once, and as far as it must")
    func fast() {
        let fast = LinkUse.Stretch(bytesPerSecond: 100_000_000)
        #expect(Self.level(CompressionPace(), batches: 4, unit: 0.005, waiting: 0, stretch: fast) == 1)
    }

    @Test("It falls while something still waits, where that gets less")
    func early() {
        let pace = CompressionPace(bitsPerSecond: 10_000_000)
        #expect(Self.level(pace, batches: 400, unit: 0.002, ahead: 0.3) < 12)
        #expect(Self.level(pace, batches: 400, unit: 0.002, ahead: 0.9) == 12)
    }

    @Test("It does not rise as long as little waits")
    func little() {
        #expect(Self.level(CompressionPace(), batches: 800, unit: 0.0002, ahead: 0.3) == 6)
        #expect(Self.level(CompressionPace(), batches: 800, unit: 0.0002, ahead: 0.9) == 12)
    }

    @Test("What comes late counts, too, for what blocks come to")
    func late() {
        var (together, apart) = (CompressionPace(), CompressionPace())
        for _ in 0..<2000 {
            let work = CompressionPace.Work(bytes: Self.batch, compressing: 0.002, elapsed: 0.002)
            let sending = CompressionPace.Sending(bytes: Self.batch, sent: Self.sent, waiting: 0.02, elapsed: 0.02)
            together.note(prepared: .init(bytes: Self.batch, sent: Self.sent, level: together.level, work: work))
            together.note(sent: sending)
            apart.note(prepared: .init(bytes: Self.batch, level: apart.level, work: work))
            apart.note(prepared: .init(sent: Self.sent, level: apart.level))
            apart.note(sent: sending)
        }
        #expect(together.level == apart.level && apart.level > 6)
    }

    @Test("What is only zeros does not count")
    func zeros() {
        var pace = CompressionPace()
        let before = Self.levels(&pace, batches: 400, onLink: 0.1).last
        for _ in 0..<1000 {
            pace.note(prepared: CompressionPace.Batch(level: pace.level, work: .init(reading: 0.1, elapsed: 0.1)))
            pace.note(sent: CompressionPace.Sending(elapsed: 0.1))
        }
        #expect(Self.levels(&pace, batches: 400, onLink: 0.1).allSatisfy { $0 == before })
    }

    @Test("Where other work slows compressing down, it gets easier")
    func busier() {
        var pace = CompressionPace()
        let before = Self.levels(&pace, batches: 1000, onLink: 0.006).last!
        let after = Self.levels(&pace, batches: 1000, onLink: 0.006, unit: 0.005).last!
        #expect(after < before && after >= 1)
    }

    @Test("A link that becomes slower gets more, one that becomes faster less, however high it was")
    func other() {
        var pace = CompressionPace()
        let first = Self.levels(&pace, batches: 1000, onLink: 0.004).last!
        let slower = Self.levels(&pace, batches: 1000, onLink: 0.1)
        #expect(slower.last == CompressionPace.levels.last!.level && slower[100] > first)
        #expect(Self.levels(&pace, batches: 1000, onLink: 0.001).last! == 1)
    }

    @Test(
        "A known rate says where to begin",
        arguments: [(10_000_000, 12), (100_000_000, 6), (1_000_000_000, 3)] as [(UInt64, Int32)])
    func known(rate: UInt64, level: Int32) {
        #expect(CompressionPace(bitsPerSecond: rate).level == level)
    }
}
