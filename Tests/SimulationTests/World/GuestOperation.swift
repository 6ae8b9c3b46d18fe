import Block

@testable import BlockModel

/// One request of the guest, on its way.
final class GuestOperation {
    let kind: RequestKind
    let sectors: Range<Int>
    /// What is written; zeros for a trim.
    let values: [UInt32]
    let isForced: Bool
    /// Told once: an `errno` and what was read.
    var finish: (Int32, [UInt32]) -> Void = { _, _ in }
    /// What a read holds so far.
    var found: [UInt32] = []
    /// What a read has been given by sector, past the image.
    var delivered: [Int: UInt32] = [:]

    init(kind: RequestKind, sectors: Range<Int>, values: [UInt32], isForced: Bool) {
        self.kind = kind
        self.sectors = sectors
        self.values = values
        self.isForced = isForced
    }

    var bytes: Range<UInt64> {
        UInt64(sectors.lowerBound) * SimImage.sectorBytes..<UInt64(sectors.upperBound) * SimImage.sectorBytes
    }

    var isChange: Bool { kind == .write || kind == .trim || kind == .writeZeroes }
}
