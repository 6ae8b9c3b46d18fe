import Hashing

/// First half of a fingerprint, with the table and block that have it.
struct CatalogueEntry: Comparable, Sendable {
    let high: UInt64
    /// Position of the table in the catalogue's list, above 48 bits of block number.
    let place: UInt64

    init(high: UInt64, table: Int, block: UInt64) {
        self.high = high
        place = UInt64(table) << 48 | block
    }

    /// Stores a whole fingerprint, when its table and block don't matter.
    init(_ fingerprint: Fingerprint) {
        high = fingerprint.high
        place = fingerprint.low
    }

    /// The fingerprint that was given to `init(_:)`.
    var fingerprint: Fingerprint { Fingerprint(high: high, low: place) }

    var table: Int { Int(place >> 48) }
    var block: UInt64 { place & (1 << 48 - 1) }

    static func < (left: CatalogueEntry, right: CatalogueEntry) -> Bool {
        left.high != right.high ? left.high < right.high : left.place < right.place
    }
}
