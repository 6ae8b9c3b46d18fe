/// How a device keeps a run of bytes; the bits are those of NBD's `base:allocation`. Protocol text, "`base:allocation`
/// metadata context".
public struct BlockState: OptionSet, Sendable {
    /// As on the wire.
    public let rawValue: UInt64

    /// Bits as on the wire.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Takes up no space: a write there may fail for want of it.
    public static let hole = BlockState(rawValue: 1)
    /// Reads as zeros.
    public static let zero = BlockState(rawValue: 2)
}
