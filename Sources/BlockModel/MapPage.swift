/// A part of a `DurablePresentMap` as it was at one moment, on its way to stable storage.
public struct MapPage: Equatable, Sendable {
    /// 64-bit words of each of the two maps in one page: 4096 bytes.
    package static let words = 512
    /// Blocks of one page.
    package static let blocks = UInt64(words * 64)

    /// The page's number in its map.
    public let index: Int
    /// A bit for each block: its bytes are in the image.
    public let present: [UInt64]
    /// A bit for each block: its bytes came from the source's disk as it was at the switchover.
    public let taken: [UInt64]

    package init(index: Int, present: [UInt64], taken: [UInt64]) {
        self.index = index
        self.present = present
        self.taken = taken
    }
}
