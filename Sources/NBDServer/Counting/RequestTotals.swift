/// The requests of one command for one export, so far.
public struct RequestTotals: Sendable, Equatable {
    /// Bytes of the ranges of requests that succeeded.
    public internal(set) var bytes: UInt64 = 0
    /// Requests that were answered with an error.
    public internal(set) var errors: UInt64 = 0
    /// Sum of all durations.
    public internal(set) var nanoseconds: UInt64 = 0
    /// Requests in each class of `LatencyBuckets`; the last one has no upper bound.
    public internal(set) var buckets = [UInt64](repeating: 0, count: LatencyBuckets.count)

    init() {}

    /// Number of requests.
    public var requests: UInt64 { buckets.reduce(0, &+) }
}
