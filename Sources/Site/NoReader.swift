import Index

/// Reads nothing: for the tables of hosts that can't be asked.
final class NoReader: NeighbourReader {
    static let shared = NoReader()

    func read(
        _ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool
    ) -> Bool { false }
    /// Tables without a way to their images are for those who ask only which host has a block.
    var expectedWait: Duration? { .zero }

    func willRead(_ table: [UInt8], _ range: Range<UInt64>, isUrgent: Bool) {}
    func wasStale(_ table: [UInt8], at offset: UInt64) {}
}
