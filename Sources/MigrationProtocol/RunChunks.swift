/// Runs of blocks in as many lists as messages take; made one after the other, so that no more than one is in memory.
package struct RunChunks<Base: Sequence<Range<UInt64>>>: Sequence, IteratorProtocol {
    private var runs: Base.Iterator

    /// - Parameter runs: not empty themselves.
    package init(_ runs: Base) {
        self.runs = runs.makeIterator()
    }

    /// The next of them, not empty; nil behind the last.
    package mutating func next() -> [BlockRange]? {
        var chunk: [BlockRange] = []
        while chunk.count < PostcopyMessage.maximumRuns, let run = runs.next() { chunk.append(BlockRange(run)) }
        return chunk.isEmpty ? nil : chunk
    }
}

extension RunChunks: Sendable where Base.Iterator: Sendable {}
