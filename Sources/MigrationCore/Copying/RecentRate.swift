/// Measures the recent growth of a count.
package struct RecentRate {
    private static let interval = Duration.milliseconds(250)
    private static let window = Duration.seconds(3)

    private var noted: [(count: UInt64, time: ContinuousClock.Instant)] = []

    package init() {}

    /// - Parameter count: the count at `time`. A smaller one than before begins a new series.
    package mutating func note(_ count: UInt64, at time: ContinuousClock.Instant) {
        if let last = noted.last, last.time.duration(to: time) < Self.interval { return }
        // A smaller count is that of another connection.
        if let last = noted.last, last.count > count { noted = [] }
        noted.append((count, time))
        noted.removeAll { $0.time.duration(to: time) > Self.window }
    }

    /// Seconds between the first and the last of the values that `perSecond` compares.
    package var seconds: Double {
        guard let first = noted.first, let last = noted.last else { return 0 }
        return first.time.duration(to: last.time).inSeconds
    }

    /// Growth a second over the three seconds before the last value; 0 without values in that time.
    package var perSecond: Double {
        guard let first = noted.first, let last = noted.last, last.time > first.time else { return 0 }
        return Double(last.count - first.count) / first.time.duration(to: last.time).inSeconds
    }
}
