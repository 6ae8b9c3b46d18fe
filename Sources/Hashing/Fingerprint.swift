/// The first 128 bits of the SHA-256 of a block.
///
/// A short last block of a disk is hashed as if zeros filled it up to the block size. A fingerprint therefore always
/// stands for exactly one block size of bytes.
@frozen
public struct Fingerprint: Hashable, Comparable, Sendable {
    /// Bytes 0 to 7, the first one the most significant: the order of numbers is the order of bytes.
    public let high: UInt64
    /// Bytes 8 to 15, likewise.
    public let low: UInt64

    /// Stands for a block of zeros by agreement. No block is known to have this fingerprint as its hash.
    @inlinable
    public static var zero: Fingerprint { Fingerprint(high: 0, low: 0) }
    /// Stands for a block of which nothing is known: it can't be read now, and may be anything once it can.
    @inlinable
    public static var unknown: Fingerprint { Fingerprint(high: .max, low: .max) }
    /// The size of a fingerprint in files and messages.
    @inlinable
    public static var byteCount: Int { 16 }

    /// A fingerprint from its halves.
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Reads a fingerprint from its `byteCount` bytes, at any alignment.
    @inlinable
    public init(bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count == Self.byteCount, "a fingerprint has 16 bytes")
        high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
        low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    /// Writes the `byteCount` bytes, at any alignment.
    @inlinable
    public func store(into bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count == Self.byteCount, "a fingerprint has 16 bytes")
        bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
        bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// Whether both are equal; with `isByPrefix`, whether their first halves are.
    @inlinable
    package func matches(_ other: Fingerprint, isByPrefix: Bool) -> Bool {
        high == other.high && (isByPrefix || low == other.low)
    }

    /// Whether all bits are equal. Written out, so that lookups in other modules compare without a call.
    @inlinable
    public static func == (left: Fingerprint, right: Fingerprint) -> Bool {
        left.high == right.high && left.low == right.low
    }

    /// The order of the bytes.
    @inlinable
    public static func < (left: Fingerprint, right: Fingerprint) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }
}
