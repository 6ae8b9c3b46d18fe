/// Runs of equal bits of a bitmap, ascending. Each is found when it is asked for, so memory does not grow with their
/// number. The map must not change meanwhile.
public struct BitRuns: Sequence, Sendable {
    package let bitmap: AtomicBitmap
    /// The value of the bits in these runs.
    package let value: Bool
    package let range: Range<UInt64>

    package init(bitmap: AtomicBitmap, value: Bool, range: Range<UInt64>) {
        self.bitmap = bitmap
        self.value = value
        self.range = range
    }

    /// Gives one run after the other.
    public struct Iterator: IteratorProtocol, Sendable {
        package let runs: BitRuns
        package var position: UInt64

        package init(runs: BitRuns, position: UInt64) {
            self.runs = runs
            self.position = position
        }

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
