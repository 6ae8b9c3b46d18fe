/// Runs of equal bits of a bitmap, ascending, found one after the other: as many as there are take no memory. Meant for maps
/// that nobody changes meanwhile.
public struct BitRuns: Sequence, Sendable {
    let bitmap: AtomicBitmap
    /// Of the bits.
    let value: Bool
    let range: Range<UInt64>

    /// Gives one run after the other.
    public struct Iterator: IteratorProtocol, Sendable {
        let runs: BitRuns
        var position: UInt64

        /// The next run; nil behind the last.
        public mutating func next() -> Range<UInt64>? {
            let end = runs.range.upperBound
            guard position < end, let first = runs.bitmap.first(runs.value, in: position..<end) else { return nil }
            position = runs.bitmap.first(!runs.value, in: first..<end) ?? end
            return first..<position
        }
    }

    /// Begins with the first run.
    public func makeIterator() -> Iterator { Iterator(runs: self, position: range.lowerBound) }
}
