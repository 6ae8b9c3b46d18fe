import Testing

@testable import BlockModel
@testable import MigrationCore

@Suite("The order in which filled blocks become durable")
struct SaveSequenceTests {
    private static let failure = WorkFailure(code: 5, reason: "broken")
    private static func map() -> DurablePresentMap {
        DurablePresentMap(geometry: BlockGeometry(size: 8 * 4096, blockSize: 4096)!)
    }

    @Test("Invariant 2: image, then manifest, then the pages as they were before the image was flushed")
    func order() throws {
        let map = Self.map()
        map.markTaken(0..<1)
        var sequence = SaveSequence(map: map)
        #expect(sequence.begin() == .synchronizeImage)
        map.markTaken(1..<2)
        #expect(sequence.ended(nil) == .step(.synchronizeManifest))
        guard case .step(.writePages(let pages)) = sequence.ended(nil) else {
            Issue.record("no pages are written")
            return
        }
        #expect(pages.map { $0.present[0] } == [1], "what came after the flush began is not durable yet")
        #expect(sequence.isRunning)
        #expect(sequence.ended(nil) == .over(nil))
        #expect(!sequence.isRunning)
        #expect(map.takeChanges().map { $0.present[0] } == [3])
    }

    @Test("A step fails -> the pages are handed out again; only an unflushed image is distrusted", arguments: 0..<3)
    func failures(after count: Int) {
        let map = Self.map()
        map.markTaken(0..<1)
        var sequence = SaveSequence(map: map)
        _ = sequence.begin()
        for _ in 0..<count { _ = sequence.ended(nil) }
        let next = sequence.ended(Self.failure)
        if count == 0 {
            #expect(next == .step(.distrustMemory))
            #expect(sequence.isRunning)
            #expect(sequence.ended(nil) == .over(Self.failure))
        } else {
            #expect(next == .over(Self.failure))
        }
        #expect(map.takeChanges().count == 1)
        _ = sequence.begin()
        for _ in 0..<2 { _ = sequence.ended(nil) }
        #expect(sequence.ended(nil) == .over(nil), "a failure is not remembered")
    }
}
