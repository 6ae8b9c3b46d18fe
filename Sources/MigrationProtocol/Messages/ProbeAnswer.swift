/// The answer of a destination to a message that only measures the link.
public struct ProbeAnswer: Sendable, Equatable {
    /// Bytes of the longest release name.
    package static let longestRelease = 64
    /// Payload bytes that one connection may bring.
    package static let maximumBytes = 64 << 20

    /// The clock of the destination, in milliseconds since 1970.
    public var clockMilliseconds: UInt64
    /// Payload bytes that have come on this connection so far.
    public var received: UInt64
    /// The destination's release; at most 64 bytes.
    public var release: String

    package init(clockMilliseconds: UInt64, received: UInt64, release: String) {
        self.clockMilliseconds = clockMilliseconds
        self.received = received
        self.release = release
    }
}
