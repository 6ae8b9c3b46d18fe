import Index

/// Tables of images that do not exist.
final class NoImages: NeighbourReader {
    let expectedWait: Duration? = .zero

    func read(
        _ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool
    ) -> Bool { false }
    func willRead(_ table: [UInt8], _ range: Range<UInt64>, isUrgent: Bool) {}
    func wasStale(_ table: [UInt8], at offset: UInt64) {}
}
