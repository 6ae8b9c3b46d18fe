/// A part of a `DurablePresentMap` as it was at one moment, on its way to stable storage.
public struct MapPage: Equatable, Sendable {
    /// 64-bit words of each of the two maps in one page: 4096 bytes.
    package static let words = 512
    /// Blocks of one page.
    package static let blocks = UInt64(words * 64)

    /// Which page it is.
    public let index: Int
    /// Whose bytes are in the image; a bit a block.
    public let present: [UInt64]
    /// Whose bytes came from the source's disk as it was handed over; a bit a block.
    public let taken: [UInt64]

    package init(index: Int, present: [UInt64], taken: [UInt64]) {
        self.index = index
        self.present = present
        self.taken = taken
    }
}
