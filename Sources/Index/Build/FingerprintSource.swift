/// The fingerprints of one disk's blocks, of which a catalogue is made. Any thread may use it, also while they change.
package protocol FingerprintSource: Sendable {
    /// Number of blocks; constant, at most 2^48.
    var blockCount: UInt64 { get }
    /// At least the number of blocks that are not zero. A close figure makes for parts of a good size.
    var dataBlocksLimit: UInt64 { get }
    /// Returns the next range of blocks at or after `block` that may be other than zero; nil if only zero blocks follow.
    /// - Parameter block: less than `blockCount`; the range ends there too.
    /// - Throws: `FileError`.
    func nextData(from block: UInt64) throws -> Range<UInt64>?
    /// Fills `buffer` with the fingerprints of consecutive blocks, `Fingerprint.byteCount` bytes each.
    /// - Parameter blocks: within `blockCount`.
    /// - Throws: `FileError`.
    func read(_ blocks: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer) throws
}
