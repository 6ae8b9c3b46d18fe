/// A run of bytes of a disk.
struct ByteRun: Equatable {
    var start: UInt64
    var length: UInt64

    /// The first byte behind it; nil if there is none below 2^64.
    var end: UInt64? {
        let (end, overflows) = start.addingReportingOverflow(length)
        return overflows ? nil : end
    }
}
