/// The result of reading from or writing to a `TLSChannel`.
public enum TLSOutcome: Equatable, Sendable {
    /// So many bytes, at least 1.
    case done(Int)
    /// The other side has to send first.
    case needsInput
    /// The channel's `output` has to be sent first.
    case needsRoom
    /// The other side has said that its stream is complete.
    case closed
    /// The connection is of no more use: `failure` says why, and `output` tells the other side.
    case failed
}
