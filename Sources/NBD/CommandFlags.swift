/// Modifies a request. Protocol text, "Command flags".
public struct CommandFlags: OptionSet, Sendable {
    /// As on the wire.
    public let rawValue: UInt16

    /// Flags as on the wire.
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
    /// Zeros must not take as long as writing them.
    public static let fastZero = CommandFlags(rawValue: 16)
    /// With extended headers: as many bytes as `length` says follow the header.
    public static let payloadLength = CommandFlags(rawValue: 32)
}
