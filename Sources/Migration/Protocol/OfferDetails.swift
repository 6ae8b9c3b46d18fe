/// What a source says of its disk to a destination that has `ProtocolSupport.Capabilities.offerDetails`.
struct OfferDetails: Sendable, Equatable {
    /// Clients may not write to the disk, and may not at the destination.
    var isReadOnly = false
    /// Bytes of the disk that are not in holes; nil where the destination is not to check that it has room.
    var dataBytes: UInt64?
    /// The same of other disks for which there must be room too, and which this destination has not been offered.
    var dataBesides: UInt64 = 0
}
