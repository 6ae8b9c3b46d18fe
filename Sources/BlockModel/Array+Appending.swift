extension [Range<UInt64>] {
    /// Appends a run, or lengthens the last one if that ends where it begins.
    /// - Parameter run: not empty, and behind all others.
    package mutating func append(joining run: Range<UInt64>) {
        if let last, last.upperBound == run.lowerBound {
            self[count - 1] = last.lowerBound..<run.upperBound
        } else {
            append(run)
        }
    }

    /// Appends a number as `append(joining:)` does a run.
    package mutating func append(joining number: UInt64) { append(joining: number..<number + 1) }
}
