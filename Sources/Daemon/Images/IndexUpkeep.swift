import Block
import BlockModel
import Foundation
import FreeSpace
import Index
import Logging

/// Keeps the table of one export current while guests write to it.
///
/// 1. It follows the export's writes in a dirty map.
/// 2. If the index has no current table of the image, it reads the whole image once.
/// 3. Then, at each interval, it reads only the blocks written since.
///
/// All reading has the lowest priority.
struct IndexUpkeep: Sendable {
    /// Intervals between two questions for partitions that stay unanswered, at most.
    private static let longestPause = 64

    private let disk: Disk
    private let path: String
    private let directory: String
    private let interval: Duration
    private let findPlaces: IndexStore.PlaceFinder
    private let logger: Logger

    /// - Parameters:
    ///   - disk: The disk that guests write to.
    ///   - path: File of the same disk.
    ///   - directory: Directory of the index; created if missing.
    ///   - interval: Time between updates.
    ///   - findPlaces: Finds where blocks of the disk should begin.
    init(
        disk: Disk, path: String, directory: String, interval: Duration,
        findPlaces: @escaping IndexStore.PlaceFinder = { PartitionReader().places(on: $0) }, logger: Logger
    ) {
        self.disk = disk
        self.path = path
        self.directory = directory
        self.interval = interval
        self.findPlaces = findPlaces
        self.logger = logger
    }

    /// Runs until the task is cancelled.
    func run() async {
        do {
            let store = try IndexStore(directory: directory, findPlaces: findPlaces)
            while !Task.isCancelled {
                let origins = await origins(in: store) ?? store.lastOrigins(of: path, below: disk.size)
                guard let geometry = BlockGeometry(size: disk.size, blockSize: store.blockSize, origins: origins)
                else { return }
                let map = DirtyMap(geometry: geometry)
                await disk.follow(map)
                await keep(store, map)
                await disk.unfollow(map)
            }
        } catch {
            logger.error("\(path) is not kept in the index: \(error)")
        }
    }

    /// Returns once the task is cancelled, or the disk has other origins: the table then needs another grid.
    private func keep(_ store: IndexStore, _ map: DirtyMap) async {
        // The disk was not followed yet when they were asked for.
        var areOriginsKnown = false
        // Intervals between two questions while there is no answer, and those that are left.
        var pause = 0
        var left = 0
        var isWhole = await (try? quietly { _ in store.isCurrent(path, origins: map.geometry.origins) }) ?? false
        while !Task.isCancelled {
            // Clear first: a write from here on is in the map, or the reading finds it.
            let blocks = Self.clear(map)
            // Without a write there are no other partitions.
            if !blocks.isEmpty { areOriginsKnown = false }
            do {
                isWhole = try await bringUpToDate(store, map.geometry.origins, written: isWhole ? blocks : nil)
            } catch is CancellationError {
                return
            } catch {
                isWhole = false
                logger.warning("\(path) can't be indexed now: \(error)")
            }
            try? await Task.sleep(for: interval)
            if map.count() > 0 { areOriginsKnown = false }
            left -= 1
            guard isWhole, !areOriginsKnown, left <= 0, !Task.isCancelled else { continue }
            guard let now = await origins(in: store) else {
                if pause == 0 { logger.notice("where the partitions of \(path) begin can't be told now") }
                pause = min(max(1, pause * 2), Self.longestPause)
                left = pause
                continue
            }
            if now != map.geometry.origins { return }
            areOriginsKnown = true
            pause = 0
        }
    }

    /// The origins within the disk as its clients see it: its image may be longer. nil if they can't be found now.
    private func origins(in store: IndexStore) async -> [UInt64]? {
        try? await quietly { [size = disk.size] _ in try store.origins(of: path)?.filter { $0 < size } }
    }

    /// - Parameter blocks: Those that were written; nil if the table lacks others, too.
    /// - Returns: Whether the table lacks only what is written from now on.
    private func bringUpToDate(_ store: IndexStore, _ origins: [UInt64], written blocks: [UInt64]?) async throws -> Bool
    {
        guard let blocks else {
            let summary = try await quietly { try store.add(path, origins: origins, options: $0) }
            logger.info("\(path) is indexed: \(summary.neighbour.distinct) fingerprints")
            return true
        }
        guard !blocks.isEmpty else { return true }
        do {
            _ = try await quietly { try store.update(path, blocks: blocks, origins: origins, options: $0) }
        } catch IndexError.notIndexed {
            return false
        }
        logger.debug("\(path) is current in the index; \(blocks.count) blocks were read")
        return true
    }

    /// Returns the blocks that were in the map.
    private static func clear(_ map: DirtyMap) -> [UInt64] {
        var cursor: UInt64 = 0
        return map.take(from: &cursor, limit: .max)
    }

    /// Runs `body` on a thread of its own with low priority. Once the task is cancelled, its options end the reading: the
    /// node's clients are gone by then, and wait for the next one.
    private func quietly<Result: Sendable>(
        _ body: @escaping @Sendable (BuildOptions) throws -> Result
    ) async throws -> Result {
        try await InterruptibleThread.run(.far) { isWanted in
            var options = BuildOptions(threads: 1)
            options.isWanted = isWanted
            return try body(options)
        }
    }
}
