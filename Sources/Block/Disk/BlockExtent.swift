/// A run of a disk's bytes in one state.
public struct BlockExtent: Equatable, Sendable {
    /// Bytes; never 0 in an answer.
    public var length: UInt64
    /// The state of the bytes.
    public var state: BlockState

    /// Creates a run of `length` bytes.
    public init(length: UInt64, state: BlockState) {
        self.length = length
        self.state = state
    }
}
