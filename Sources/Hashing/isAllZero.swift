import Glibc

/// Whether every byte is zero; true for no bytes at all. Stops at the first that is not.
public func isAllZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count > 16 else { return bytes.allSatisfy { $0 == 0 } }
    let first = bytes.loadUnaligned(as: UInt64.self) | bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    // Sixteen zero bytes, and every byte equal to the one sixteen before it: memcmp does the rest with the
    // widest registers this processor has.
    return first == 0 && memcmp(bytes.baseAddress!, bytes.baseAddress! + 16, bytes.count - 16) == 0
}
