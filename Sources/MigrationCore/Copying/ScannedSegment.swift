import Hashing
import MigrationProtocol

/// A manifest segment with the facts that its sender does not send.
package struct ScannedSegment: Sendable {
    package let manifest: ManifestSegment
    /// Whole fingerprints of its blocks; `.zero` for blocks that are zero or still being written.
    package let fingerprints: [Fingerprint]
    /// Bytes of zero blocks; 0 if they have been counted already.
    package let zeroBytes: UInt64
    /// Samples of all blocks that were scanned together.
    package var samples = CompressionSamples()

    package init(
        manifest: ManifestSegment, fingerprints: [Fingerprint], zeroBytes: UInt64,
        samples: CompressionSamples = CompressionSamples()
    ) {
        self.manifest = manifest
        self.fingerprints = fingerprints
        self.zeroBytes = zeroBytes
        self.samples = samples
    }

    /// The part with some of its blocks, counted from the first.
    package func part(_ blocks: Range<Int>) -> ScannedSegment {
        ScannedSegment(
            manifest: ManifestSegment(
                first: manifest.first + UInt64(blocks.lowerBound), entries: Array(manifest.entries[blocks])),
            fingerprints: Array(fingerprints[blocks]), zeroBytes: 0, samples: samples)
    }
}
