import Block
import Foundation
import Index
import Logging
import Ring
import Synchronization
import TestSupport
import Testing

@testable import Daemon

/// An index that is kept current while the helper that finds partitions fails.
@Suite("Index upkeep whose questions stay unanswered", .timeLimit(.minutes(5)))
struct IndexUpkeepTests {
    /// Gives no answer at first.
    private final class Finder: Sendable {
        private let asked = Mutex(0)
        private let silent: Int

        init(silent: Int) { self.silent = silent }

        var count: Int { asked.withLock { $0 } }

        func find() -> [UInt64]? {
            asked.withLock { count in
                count += 1
                return count > silent ? [63 * 512] : nil
            }
        }
    }

    @Test("The partitions are found at the third question -> their grid, though nobody writes; then no more questions")
    func unanswered() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let path = scratch.file("disk.raw")
        let index = scratch.file("index")
        let image = try RawImage(path: path, access: .readWrite)
        let loop = try EventLoop(index: 0)
        defer { loop.stop() }
        let finder = Finder(silent: 2)
        let upkeep = IndexUpkeep(
            disk: Disk(size: image.size, device: image.device, loops: [loop]), path: path, directory: index,
            interval: .milliseconds(20), findPlaces: { _ in finder.find() }, logger: Logger(label: "test"))
        let task = Task { await upkeep.run() }
        let store = try IndexStore(directory: index, findPlaces: { _ in [63 * 512] })
        // Only the suite's limit ends this.
        while !store.isCurrent(path) { try await Task.sleep(for: .milliseconds(20)) }
        let count = finder.count
        try await Task.sleep(for: .milliseconds(200))
        // The new grid's own question, and that whether its table is current, may still have been to come.
        #expect(finder.count <= count + 2)
        task.cancel()
        await task.value
        #expect(try store.verify() == [])
    }
}
