/// The outcome of an operator's wish to give up a disk that comes here.
public enum ArrivalCancellation: Sendable, Equatable {
    case cancelled
    /// There is no such disk.
    case unknown
    /// It is this node's already.
    case handedOver
    /// It can't be given up from here, for this reason.
    case impossible(String)
}
