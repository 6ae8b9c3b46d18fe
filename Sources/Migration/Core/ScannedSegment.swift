import Index

/// A manifest segment, with what its sender keeps to itself.
struct ScannedSegment: Sendable {
    let manifest: ManifestSegment
    /// Of its blocks, whole ones; `.zero` for what is zero or still being written.
    let fingerprints: [Fingerprint]
    /// Bytes of blocks that are zero; 0 where they have been counted.
    let zeroBytes: UInt64
    /// Of what was scanned at once.
    var samples = CompressionSamples()

    /// Some of its blocks, counted from the first.
    func part(_ blocks: Range<Int>) -> ScannedSegment {
        ScannedSegment(
            manifest: ManifestSegment(
                first: manifest.first + UInt64(blocks.lowerBound), entries: Array(manifest.entries[blocks])),
            fingerprints: Array(fingerprints[blocks]), zeroBytes: 0, samples: samples)
    }
}
