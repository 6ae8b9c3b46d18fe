/// The choice of the fingerprints that a catalogue of samples lists.
///
/// Every host of a site chooses the same ones, whatever image they are in, so a sample is found wherever it stands.
/// Lillibridge et al., "Sparse Indexing", FAST 2009, calls them hooks.
enum Sampling {
    /// One fingerprint in this many is a sample, on average; a power of two.
    static let period: UInt64 = 16

    /// Returns whether a fingerprint with this first half is a sample. The low bits choose: the high ones choose buckets.
    static func isSample(_ high: UInt64) -> Bool { high & (period - 1) == 0 }
}
