import TestSupport
import Testing

@testable import BlockModel
@testable import MigrationCore

@Suite("In which order what is missing is brought", .timeLimit(.minutes(10)))
struct BackgroundFillTests {
    private func fill(_ map: DurablePresentMap, segment: UInt64, windows: Int = 1) -> BackgroundFill {
        var limits = BackgroundFill.Limits()
        limits.segment = segment
        limits.describing = windows
        limits.bringing = windows
        return BackgroundFill(map: map, limits: limits)
    }

    private func map(_ blocks: UInt64) throws -> DurablePresentMap {
        DurablePresentMap(geometry: try #require(BlockGeometry(size: blocks * 4096, blockSize: 4096)))
    }

    /// Brings all that is missing, one segment after the other.
    private func order(
        of fill: inout BackgroundFill, _ map: DurablePresentMap, atMost limit: Int = .max
    ) -> [Range<UInt64>] {
        var order: [Range<UInt64>] = []
        fill.linkFound()
        var actions = fill.next()
        while !actions.isEmpty || !fill.isDone {
            for action in actions {
                switch action {
                case .describe: fill.wasDescribed()
                case .bring(let segment):
                    guard order.count < limit else { return order }
                    order.append(segment)
                    for run in map.missingRuns(in: segment) { map.markTaken(run) }
                    fill.brought(segment)
                }
            }
            actions = fill.next()
        }
        return order
    }

    @Test("What is wished for comes first, the last wish ahead of earlier ones, then what is ranked, then the rest")
    func wishes() throws {
        let map = try map(40)
        map.markTaken(22..<24)
        var fill = fill(map, segment: 10)
        fill.rank([1..<3])
        fill.rank([36..<38, 5..<7])
        fill.wish(for: 18..<25)
        fill.wish(for: 38..<99)
        let found = order(of: &fill, map)
        #expect(Array(found.prefix(5)) == [38..<40, 18..<25, 36..<38, 5..<7, 0..<5])
        // With what has come already between their first and their last block.
        #expect(found.dropFirst(5).flatMap { Array($0) } == Array(7..<36))
    }

    @Test("What is postponed comes behind all others, unless it is wished for or ranked")
    func postponed() throws {
        let map = try map(40)
        map.markTaken(22..<24)
        var fill = fill(map, segment: 10)
        fill.postpone(BlockSet([0..<4, 8..<20, 21..<30], of: 40))
        fill.rank([10..<12])
        fill.wish(for: 26..<27)
        let found = order(of: &fill, map).flatMap { Array($0) }
        let rest = [0..<4, 8..<10, 12..<20, 21..<22, 24..<26, 27..<30].flatMap { Array($0) as [UInt64] }
        let first = [26, 10, 11, 4, 5, 6, 7, 20] + Array(30..<40) as [UInt64]
        #expect(Array(found.prefix(first.count)) == first)
        #expect(found.dropFirst(first.count).filter { rest.contains($0) } == rest)
        #expect(map.missing == 0)
    }

    @Test("What was under way when the link was lost comes again, and nothing before it is forgotten for that")
    func linkLost() throws {
        let map = try map(100)
        var fill = fill(map, segment: 10)
        fill.rank([90..<92])
        #expect(order(of: &fill, map, atMost: 0) == [])
        fill.linkLost()
        let found = order(of: &fill, map)
        #expect(found.first == 0..<10 && found.flatMap { Array($0) } == Array(0..<100))
    }

    @Test("A segment is as many missing blocks, however far apart, unless the source can't be asked that way")
    func sparse() throws {
        let scattered = try map(1000)
        for block in 0..<1000 as Range<UInt64> where block % 10 > 1 { scattered.markTaken(block..<block + 1) }
        var fill = fill(scattered, segment: 10, windows: 2)
        let runs = (0..<10 as Range<UInt64>).map { $0 * 10..<$0 * 10 + 2 }
        fill.linkFound()
        #expect(fill.next() == [.describe(Array(runs[..<5])), .describe(Array(runs[5...]))])
        fill.linkLost()
        // One of two missing blocks each; four are in the place of one.
        fill.linkFound(span: 10)
        #expect(fill.next() == runs[..<8].map { .describe([$0]) })
    }

    @Test("Wishes are no more than there is room for")
    func manyWishes() throws {
        let map = try map(1000)
        var fill = fill(map, segment: 1)
        for block in 100..<300 as Range<UInt64> { fill.wish(for: block..<block + 1) }
        let found = order(of: &fill, map)
        #expect(found.prefix(64).map(\.lowerBound) == (236..<300).reversed())
        #expect(found[64] == 0..<1)
    }

    @Test("Whatever is wished for and whatever is lost: nothing is under way twice, and all of it comes")
    func allComes() throws {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let blocks = UInt64.random(in: 1...200, using: &random)
            let map = try map(blocks)
            var fill = fill(map, segment: UInt64.random(in: 1...20, using: &random), windows: 3)
            let span = UInt64.random(in: 1...50, using: &random)
            var asked: [Range<UInt64>] = []
            var bringing: [Range<UInt64>] = []
            func take(_ actions: [BackgroundFill.Action]) {
                for action in actions {
                    switch action {
                    case .describe(let runs):
                        let segment = runs.first!.lowerBound..<runs.last!.upperBound
                        #expect(!(asked + bringing).contains { $0.overlaps(segment) })
                        #expect(map.missingRuns(in: segment) == runs)
                        asked.append(segment)
                    case .bring(let segment):
                        asked.removeAll { $0 == segment }
                        bringing.append(segment)
                    }
                }
            }
            fill.linkFound(span: span)
            take(fill.next())
            var steps = 0
            while !fill.isDone, steps < 20_000 {
                steps += 1
                switch Int.random(in: 0..<8, using: &random) {
                case 0:
                    let start = UInt64.random(in: 0..<blocks, using: &random)
                    let range = start..<start + UInt64.random(in: 1...50, using: &random)
                    if random.chance(50) { fill.wish(for: range) } else { fill.rank([range]) }
                case 1 where random.chance(20):
                    let start = UInt64.random(in: 0..<blocks, using: &random)
                    fill.postpone(BlockSet([start..<UInt64.random(in: start...blocks, using: &random)], of: blocks))
                case 1 where steps < 200 && random.chance(10):
                    fill.linkLost()
                    asked = []
                    bringing = []
                    fill.linkFound(span: span)
                    take(fill.next())
                case 2...4: fill.wasDescribed()
                default:
                    guard let segment = bringing.randomElement(using: &random) else { break }
                    // Some of it fails.
                    for run in map.missingRuns(in: segment) where random.chance(90) { map.markTaken(run) }
                    bringing.removeAll { $0 == segment }
                    fill.brought(segment)
                }
                take(fill.next())
            }
            #expect(fill.isDone && map.missing == 0)
        }
    }
}
