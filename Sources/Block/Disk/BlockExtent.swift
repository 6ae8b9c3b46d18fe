/// What is known of a run of a disk's bytes.
public struct BlockExtent: Equatable, Sendable {
    /// Bytes; never 0 in an answer.
    public var length: UInt64
    /// How they are kept.
    public var state: BlockState

    /// A run of `length` bytes.
    public init(length: UInt64, state: BlockState) {
        self.length = length
        self.state = state
    }
}
