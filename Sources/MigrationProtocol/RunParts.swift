/// Splits runs of blocks into parts of a fixed number of blocks, but for the last. Only one part at a time is in
/// memory.
package struct RunParts<Base: Sequence<Range<UInt64>>>: Sequence, IteratorProtocol {
    private var runs: Base.Iterator
    private let count: UInt64
    /// The rest of the last run that was taken.
    private var rest: Range<UInt64>?

    package init(_ runs: Base, of count: UInt64) {
        self.runs = runs.makeIterator()
        self.count = count
    }

    package mutating func next() -> [Range<UInt64>]? {
        var part: [Range<UInt64>] = []
        var room = count
        while room > 0, let run = rest ?? runs.next() {
            rest = nil
            guard !run.isEmpty else { continue }
            let end = Swift.min(run.upperBound, run.lowerBound + Swift.min(room, run.upperBound - run.lowerBound))
            part.append(run.lowerBound..<end)
            room -= end - run.lowerBound
            if end < run.upperBound { rest = end..<run.upperBound }
        }
        return part.isEmpty ? nil : part
    }
}
