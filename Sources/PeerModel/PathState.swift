/// TCP's measurements of the path that a connection takes.
public struct PathState: Sendable, Equatable {
    /// The recent round trip, with the time that is spent in queues on the way.
    public var roundTrip: Duration
    /// The shortest round trip of the last minutes: that of the path without queues.
    public var shortestRoundTrip: Duration
    /// Recent delivery rate, bytes/s. A lower bound when the sender was idle.
    public var bytesPerSecond: UInt64
    /// Bytes that the other end has acknowledged since the connection began.
    public var acknowledged: UInt64
    /// Bytes in this end's socket that have not been sent yet.
    public var unsent: UInt64

    /// Makes a state of these values.
    public init(
        roundTrip: Duration, shortestRoundTrip: Duration, bytesPerSecond: UInt64, acknowledged: UInt64 = 0,
        unsent: UInt64 = 0
    ) {
        self.roundTrip = roundTrip
        self.shortestRoundTrip = shortestRoundTrip
        self.bytesPerSecond = bytesPerSecond
        self.acknowledged = acknowledged
        self.unsent = unsent
    }

    /// The same path with at most the rate of a limit.
    /// - Parameter bitsPerSecond: nil for no limit.
    package func limited(to bitsPerSecond: UInt64?) -> PathState {
        var path = self
        if let bitsPerSecond { path.bytesPerSecond = min(bytesPerSecond, bitsPerSecond / 8) }
        return path
    }
}
