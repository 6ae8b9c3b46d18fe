import Hashing

extension Fingerprint {
    /// A hash of whole fingerprints; `.zero` of none.
    package static func combined(_ fingerprints: some Sequence<Fingerprint>) -> Fingerprint {
        let words = fingerprints.flatMap { [$0.high.bigEndian, $0.low.bigEndian] }
        return words.isEmpty ? .zero : words.withUnsafeBytes { BlockHasher().fingerprint($0) }
    }
}
