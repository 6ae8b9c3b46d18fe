import Hashing

/// A block that another host has sent, hashed at this one (invariant 4).
struct BorrowedBlock: Sendable {
    let fingerprint: Fingerprint
    let bytes: ArraySlice<UInt8>
}
