/// The properties of an export that the server tells to clients.
public struct ExportDescription: Sendable, Equatable {
    /// The name that the client may ask for; at most 4096 bytes of UTF-8.
    public let name: String
    /// Bytes of the disk.
    public let size: UInt64
    /// Whether writes are refused.
    public let isReadOnly: Bool
    /// Whether the disk is slow to seek, so that the client may order its requests accordingly.
    public let isRotational: Bool
    /// A description for people, at most 4096 bytes of UTF-8; empty if there is none.
    public let text: String
    /// Whether only clients that encrypt may have the export or see it in a list.
    public var requiresTLS = false
    /// Names of the metadata contexts that the export has besides `MetaContext.allocation`.
    public var maps: [String] = []

    /// Creates a description with the given properties.
    public init(name: String, size: UInt64, isReadOnly: Bool, isRotational: Bool = false, text: String = "") {
        self.name = name
        self.size = size
        self.isReadOnly = isReadOnly
        self.isRotational = isRotational
        self.text = text
    }

    /// CAN_MULTI_CONN holds because all connections of an export share one device: a flush on any of them covers all.
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
