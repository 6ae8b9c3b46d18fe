/// What a client is told of an export.
public struct ExportDescription: Sendable, Equatable {
    /// The name that the client may ask for; at most 4096 bytes of UTF-8.
    public let name: String
    /// Bytes.
    public let size: UInt64
    /// Writes are refused.
    public let isReadOnly: Bool
    /// The disk is slow to seek: the client may order its requests accordingly.
    public let isRotational: Bool
    /// For people; empty where there is nothing to say, at most 4096 bytes of UTF-8.
    public let text: String
    /// Only clients that encrypt may have the export, or see it in a list.
    public var requiresTLS = false
    /// Names of the contexts that it has besides `MetaContext.allocation`.
    public var maps: [String] = []

    /// Describes an export.
    public init(name: String, size: UInt64, isReadOnly: Bool, isRotational: Bool = false, text: String = "") {
        self.name = name
        self.size = size
        self.isReadOnly = isReadOnly
        self.isRotational = isRotational
        self.text = text
    }

    /// One export's connections share one device, so a flush on any of them covers all.
    func flags(_ style: HeaderStyle) -> TransmissionFlags {
        var flags: TransmissionFlags = [
            .hasFlags, .sendsFlush, .sendsForceUnitAccess, .sendsCache, .canMultiConnect,
        ]
        if isReadOnly {
            flags.insert(.readOnly)
        } else {
            flags.formUnion([.sendsTrim, .sendsWriteZeroes, .sendsFastZero])
        }
        if isRotational { flags.insert(.rotational) }
        if style != .simple { flags.insert(.sendsDoNotFragment) }
        return flags
    }
}
