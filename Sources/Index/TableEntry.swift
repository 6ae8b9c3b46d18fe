/// A fingerprint and a number that goes with it: the block that has it, or the place of a question in its
/// batch.
struct TableEntry: Fingerprinted, Comparable, Sendable {
    let fingerprint: Fingerprint
    let number: UInt64

    static func < (left: TableEntry, right: TableEntry) -> Bool {
        left.fingerprint != right.fingerprint
            ? left.fingerprint < right.fingerprint : left.number < right.number
    }
}
