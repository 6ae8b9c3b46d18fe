/// Modifiers of a request. Protocol text, "Command flags".
public struct CommandFlags: OptionSet, Sendable {
    /// The bits of the wire format.
    public let rawValue: UInt16

    /// Creates flags from the bits of the wire format.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// The data must be durable before the reply.
    public static let forceUnitAccess = CommandFlags(rawValue: 1)
    /// Zeros must take up space.
    public static let noHole = CommandFlags(rawValue: 2)
    /// A read must be answered in one piece.
    public static let doNotFragment = CommandFlags(rawValue: 4)
    /// A block status must be answered with one extent.
    public static let requestOne = CommandFlags(rawValue: 8)
    /// `writeZeroes` must fail rather than take as long as a write.
    public static let fastZero = CommandFlags(rawValue: 16)
    /// With extended headers: `length` bytes of payload follow the header.
    public static let payloadLength = CommandFlags(rawValue: 32)
}
