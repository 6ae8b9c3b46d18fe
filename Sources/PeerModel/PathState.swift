/// What TCP has measured of the path that a connection takes.
public struct PathState: Sendable, Equatable {
    /// A round trip lately, with the time that is spent in queues on the way.
    public var roundTrip: Duration
    /// The shortest of the last minutes: what is left without queues.
    public var shortestRoundTrip: Duration
    /// What arrived of late. It is less than the path carries where less was sent.
    public var bytesPerSecond: UInt64
    /// Bytes that the other end has said have come, from the beginning.
    public var acknowledged: UInt64
    /// Bytes that wait because the path has no room for them.
    public var unsent: UInt64

    /// A state of these values.
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
}
