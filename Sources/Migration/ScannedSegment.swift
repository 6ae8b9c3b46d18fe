import Index

/// A manifest segment, with what its sender keeps to itself.
struct ScannedSegment: Sendable {
    let manifest: ManifestSegment
    /// Of its blocks, whole ones; `.zero` for what is zero or still being written.
    let fingerprints: [Fingerprint]
    let zeroBytes: UInt64
    /// What its blocks may come to compressed, by their size.
    let ratio: Double
}
