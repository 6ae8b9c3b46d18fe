/// What a client is told of an export.
public struct ExportDescription: Sendable, Equatable {
    /// The name that the client may ask for; at most 4096 bytes of UTF-8.
    public let name: String
    /// Bytes.
    public let size: UInt64
    /// Writes are refused.
    public let isReadOnly: Bool

    /// Describes an export.
    public init(name: String, size: UInt64, isReadOnly: Bool) {
        self.name = name
        self.size = size
        self.isReadOnly = isReadOnly
    }

    /// One export's connections share one file, so a flush on any of them covers all.
    var flags: TransmissionFlags {
        var flags: TransmissionFlags = [.hasFlags, .sendsFlush, .sendsForceUnitAccess, .canMultiConnect]
        if isReadOnly {
            flags.insert(.readOnly)
        } else {
            flags.formUnion([.sendsTrim, .sendsWriteZeroes])
        }
        return flags
    }
}
