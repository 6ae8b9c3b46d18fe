import Ring

/// What holds a disk's bytes. A class and not a protocol, so that a request costs one virtual call and no existential.
///
/// Devices are shared by all loops: what they keep is immutable or guarded by themselves.
open class BlockDevice: RingHandler, @unchecked Sendable {
    /// Begins a request, on the thread of `port`'s loop; `DiskPort.ended` is called on that thread later.
    func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        preconditionFailure("a device must say how it serves requests")
    }

    /// Reads up to `length` bytes at `offset`, as far as that needs no waiting.
    /// - Returns: how many were read; where it is less, the rest or all of it goes through `start`.
    func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Int {
        0
    }

    /// Writes `length` bytes at `offset` before it returns, where that is possible and usually quick.
    /// - Returns: 0 or an `errno`; nil where the caller has to write all of it through `start`.
    func writeAtOnce(from buffer: UnsafeRawPointer, length: Int, at offset: UInt64) -> CInt? {
        nil
    }
}
