/// The state of a run of bytes, in the bits of NBD's `base:allocation`. Protocol text, "`base:allocation` metadata
/// context".
public struct BlockState: OptionSet, Sendable {
    /// The bits of the wire format.
    public let rawValue: UInt64

    /// Creates a state from the bits of the wire format.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// The bytes take up no space: a write there may fail for want of it.
    public static let hole = BlockState(rawValue: 1)
    /// The bytes read as zeros.
    public static let zero = BlockState(rawValue: 2)
}
