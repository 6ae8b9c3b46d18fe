import Hashing

/// A fingerprint's first half, and where it stands.
struct CatalogueEntry: Comparable, Sendable {
    let high: UInt64
    /// The table's place in the catalogue's list above 48 bits of block number.
    let place: UInt64

    init(high: UInt64, table: Int, block: UInt64) {
        self.high = high
        place = UInt64(table) << 48 | block
    }

    /// A whole fingerprint, of which it does not matter where it stands.
    init(_ fingerprint: Fingerprint) {
        high = fingerprint.high
        place = fingerprint.low
    }

    /// What `init(_:)` was given.
    var fingerprint: Fingerprint { Fingerprint(high: high, low: place) }

    var table: Int { Int(place >> 48) }
    var block: UInt64 { place & (1 << 48 - 1) }

    static func < (left: CatalogueEntry, right: CatalogueEntry) -> Bool {
        left.high != right.high ? left.high < right.high : left.place < right.place
    }
}
