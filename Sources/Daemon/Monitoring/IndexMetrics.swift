import Index
import Monitoring
import NIOConcurrencyHelpers
import NIOPosix

/// The size of the node's index. It changes seldom, and looking at it opens every file, so that an answer is kept for a
/// while. Any thread may use it.
final class IndexMetrics: Sendable {
    private static let keptFor = Duration.seconds(60)

    private struct State {
        var families: [MetricFamily] = []
        var next: ContinuousClock.Instant?
    }

    private let directory: String
    private let pool: NIOThreadPool
    private let state = NIOLockedValueBox(State())

    /// - Parameter pool: reads the files.
    init(directory: String, pool: NIOThreadPool) {
        self.directory = directory
        self.pool = pool
    }

    /// Returns the size; nothing while there is no index, or it can't be read.
    func families() async -> [MetricFamily] {
        let kept = state.withLockedValue { state in
            if let next = state.next, .now < next { return state.families as [MetricFamily]? }
            // Others get the old answer meanwhile.
            state.next = .now + Self.keptFor
            return nil
        }
        if let kept { return kept }
        let families = (try? await pool.runIfActive { [directory] in Self.read(directory) }) ?? []
        state.withLockedValue { $0.families = families }
        return families
    }

    private static func read(_ directory: String) -> [MetricFamily] {
        guard let index = try? NeighbourIndex.open(directory: directory) else { return [] }
        func sum(_ part: KeyPath<Neighbour, UInt64>) -> UInt64 {
            index.neighbours.reduce(0) { $0 &+ $1[keyPath: part] }
        }
        func family(_ name: String, _ help: String, _ value: UInt64) -> MetricFamily {
            MetricFamily("nearblock_index_\(name)", .gauge, help, [MetricSample(value: .count(value))])
        }
        return [
            family("neighbours", "Images in the index.", UInt64(index.neighbours.count)),
            family("indexed_bytes", "Bytes of the images in the index.", sum(\.blocks) &* UInt64(index.blockSize)),
            family("size_bytes", "Bytes of the index's files.", sum(\.tableBytes) &+ index.catalogueBytes),
            family("problems", "Files of the index that can't be used.", UInt64(index.problems.count)),
        ]
    }
}
