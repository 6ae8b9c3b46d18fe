/// A disk that is prepared here, with what is needed to serve it.
struct PreparedDisk: Sendable {
    let record: IncomingRecord
    /// nil after a restart.
    var receiving: ReceivingDisk?
    /// nil after a restart, and for a disk of which nothing is missing.
    var parts: PostCopyFiles?
    /// The bits of its dirty bitmap; nil after a restart, and if it has none.
    var bitmap: BitmapKeeper.Bits?
}
