/// The classes in which durations of requests are counted: each is twice as long as the one before.
package enum LatencyBuckets {
    /// The first bound is 4 µs: a request that the page cache serves takes less. The last is 8.4 s.
    private static let firstPower = 2
    /// Number of bounds. One more class has what takes longer than the last.
    package static let bounds = 22
    /// Number of classes.
    package static let count = bounds + 1

    /// Returns the class of a duration.
    @inline(__always)
    static func index(nanoseconds: UInt64) -> Int {
        let power = UInt64.bitWidth - ((max(nanoseconds, 1) - 1) / 1000).leadingZeroBitCount
        return min(max(power - firstPower, 0), bounds)
    }

    /// Returns the longest duration in a class, in seconds; infinity for the last class.
    package static func bound(of index: Int) -> Double {
        index < bounds ? Double(UInt64(1) << UInt64(index + firstPower)) / 1e6 : .infinity
    }
}
