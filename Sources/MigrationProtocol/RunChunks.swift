/// Splits runs of blocks into lists that each fit into one message. Only one list at a time is in memory.
package struct RunChunks<Base: Sequence<Range<UInt64>>>: Sequence, IteratorProtocol {
    private var runs: Base.Iterator

    /// - Parameter runs: each of them not empty.
    package init(_ runs: Base) {
        self.runs = runs.makeIterator()
    }

    /// The next list, not empty; nil after the last.
    package mutating func next() -> [BlockRange]? {
        var chunk: [BlockRange] = []
        while chunk.count < PostcopyMessage.maximumRuns, let run = runs.next() { chunk.append(BlockRange(run)) }
        return chunk.isEmpty ? nil : chunk
    }
}

extension RunChunks: Sendable where Base.Iterator: Sendable {}
