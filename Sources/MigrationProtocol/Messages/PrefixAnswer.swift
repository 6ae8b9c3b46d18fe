import Hashing

/// The answer to a `PrefixQuestion`.
public struct PrefixAnswer: Sendable, Equatable {
    /// Whether each block is there.
    package var has: [Bool]
    /// The fingerprint of all these blocks' bytes, one behind the other; `.zero` unless the question was final.
    package var digest: Fingerprint

    package init(has: [Bool], digest: Fingerprint = .zero) {
        self.has = has
        self.digest = digest
    }
}
