/// Something that is sorted by a fingerprint first.
protocol Fingerprinted: Comparable, Sendable {
    var fingerprint: Fingerprint { get }
}

extension Fingerprint: Fingerprinted {
    var fingerprint: Fingerprint { self }
}
