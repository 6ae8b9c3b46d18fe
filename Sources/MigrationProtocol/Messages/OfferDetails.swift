/// Further facts about the offered disk, for a destination that has `ProtocolSupport.Capabilities.offerDetails`.
package struct OfferDetails: Sendable, Equatable {
    /// Clients may not write to the disk, and may not at the destination.
    package var isReadOnly = false
    /// Bytes of the disk that are not in holes; nil where the destination is not to check that it has room.
    package var dataBytes: UInt64?
    /// The same of other disks for which there must be room too, and which this destination has not been offered.
    package var dataBesides: UInt64 = 0
    /// Places at which a block begins, besides the start of the disk; bytes, ascending. Only if both sides have `grids`.
    package var origins: [UInt64] = []

    package init(
        isReadOnly: Bool = false, dataBytes: UInt64? = nil, dataBesides: UInt64 = 0, origins: [UInt64] = []
    ) {
        self.isReadOnly = isReadOnly
        self.dataBytes = dataBytes
        self.dataBesides = dataBesides
        self.origins = origins
    }
}
