/// Further facts about the offered disk, for a destination that has `ProtocolSupport.Capabilities.offerDetails`.
package struct OfferDetails: Sendable, Equatable {
    /// Clients may not write to the disk, and may not at the destination.
    package var isReadOnly = false
    /// Bytes of the disk that are not in holes; nil where the destination is not to check that it has room.
    package var dataBytes: UInt64?
    /// The same of other disks for which there must be room too, and which this destination has not been offered.
    package var dataBesides: UInt64 = 0

    package init(isReadOnly: Bool = false, dataBytes: UInt64? = nil, dataBesides: UInt64 = 0) {
        self.isReadOnly = isReadOnly
        self.dataBytes = dataBytes
        self.dataBesides = dataBesides
    }
}
