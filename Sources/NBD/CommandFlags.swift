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
}
