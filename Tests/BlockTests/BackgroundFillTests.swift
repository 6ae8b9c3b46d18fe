import TestSupport
import Testing

@testable import Block

@Suite("In which order what is missing is brought", .timeLimit(.minutes(3)))
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

    @Test("What is preferred comes first, the last wish before earlier ones, each block once")
    func preferred() throws {
        let map = try map(40)
        map.markTaken(22..<24)
        var fill = fill(map, segment: 10)
        var order: [Range<UInt64>] = []
        func take(_ actions: [BackgroundFill.Action]) {
            for action in actions {
                switch action {
                case .describe: fill.wasDescribed()
                case .bring(let segment):
                    order.append(segment)
                    for run in map.missingRuns(in: segment) { map.markTaken(run) }
                    fill.brought(segment)
                }
            }
        }
        fill.prefer([18..<35, 5..<7])
        take(fill.linkFound())
        fill.prefer([38..<99])
        while !fill.isDone { take(fill.next()) }
        #expect(order.first == 18..<20)
        #expect(Array(order.dropFirst()) == [38..<40, 20..<30, 30..<35, 5..<7, 0..<5, 7..<10, 10..<20, 35..<40])
    }

    @Test("Whatever is wished for and whatever is lost: nothing is under way twice, and all of it comes")
    func allComes() throws {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let blocks = UInt64.random(in: 1...200, using: &random)
            let map = try map(blocks)
            var fill = fill(map, segment: UInt64.random(in: 1...20, using: &random), windows: 3)
            var asked: [Range<UInt64>] = []
            var bringing: [Range<UInt64>] = []
            func take(_ actions: [BackgroundFill.Action]) {
                for action in actions {
                    switch action {
                    case .describe(let segment):
                        #expect(!(asked + bringing).contains { $0.overlaps(segment) })
                        asked.append(segment)
                    case .bring(let segment):
                        asked.removeAll { $0 == segment }
                        bringing.append(segment)
                    }
                }
            }
            take(fill.linkFound())
            var steps = 0
            while !fill.isDone, steps < 20_000 {
                steps += 1
                switch Int.random(in: 0..<8, using: &random) {
                case 0:
                    let start = UInt64.random(in: 0..<blocks, using: &random)
                    fill.prefer([start..<start + UInt64.random(in: 1...50, using: &random)])
                case 1 where steps < 200 && random.chance(10):
                    fill.linkLost()
                    asked = []
                    bringing = []
                    take(fill.linkFound())
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
