import Hashing

/// Whole fingerprints of consecutive blocks of an image that nobody writes to.
public struct BlockDescription: Sendable, Equatable {
    package var first: UInt64
    /// `.zero` for a block of zeros.
    package var fingerprints: [Fingerprint]

    package init(first: UInt64, fingerprints: [Fingerprint]) {
        self.first = first
        self.fingerprints = fingerprints
    }
}
