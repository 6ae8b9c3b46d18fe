import NIOConcurrencyHelpers

/// Sorts what several threads have collected, again on several threads, and hands each sorted part to a
/// function.
///
/// It frees the heaps as it goes, so the peak is what was collected and a few parts.
final class PartitionSorter<Element: Fingerprinted>: Sendable {
    private let piles: NIOLockedValueBox<(next: Int, piles: [Partitions<Element>])>

    init(_ piles: consuming [Partitions<Element>]) {
        self.piles = NIOLockedValueBox((0, piles))
    }

    /// - Parameter finish: Gets one part, ascending; equal elements are all there.
    /// - Returns: What `finish` made of the parts, in ascending order.
    func run<Value: Sendable>(
        threads: Int, finish: @escaping @Sendable (consuming [Element]) throws -> Value
    ) throws -> [Value] {
        let parts = try Workers.run(threads) {
            var mine: [(index: Int, value: Value)] = []
            while let (index, sorted) = self.next() {
                mine.append((index, try finish(sorted)))
            }
            return mine
        }
        return parts.joined().sorted { $0.index < $1.index }.map(\.value)
    }

    private func next() -> (Int, [Element])? {
        var taken: [[Element]] = []
        let index = piles.withLockedValue { state -> Int? in
            guard state.next < Partitions<Element>.count else { return nil }
            defer { state.next += 1 }
            for pile in state.piles.indices { taken.append(state.piles[pile].take(state.next)) }
            return state.next
        }
        guard let index else { return nil }
        var heap = taken.removeFirst()
        for other in taken { heap += other }
        heap.sort()
        return (index, heap)
    }
}
