/// What reading from or writing to a `TLSChannel` came to.
public enum TLSOutcome: Equatable, Sendable {
    /// So many bytes, at least 1.
    case done(Int)
    /// The other side has to send first.
    case needsInput
    /// What waits in `output` has to be sent first.
    case needsRoom
    /// The other side has said that it ends here.
    case closed
    /// The connection is of no more use; what waits in `output` tells the other side why.
    case failed
}
