import Ring

/// A device that holds a disk's bytes. It is a class and not a protocol: a request costs one virtual call and no
/// existential.
///
/// All loops share a device, so its state is immutable or does its own locking.
open class BlockDevice: RingHandler, @unchecked Sendable {
    /// Starts a request, on the thread of `port`'s loop; the device later calls `DiskPort.ended` on that thread.
    func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        preconditionFailure("a device must override start(_:on:)")
    }

    /// Reads up to `length` bytes at `offset`, as far as that needs no waiting.
    /// - Returns: bytes read. If they are fewer than `length`, the caller uses `start` for the rest or for all.
    func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Int {
        0
    }

    /// Writes `length` bytes at `offset` before it returns, if that is possible and usually fast.
    /// - Returns: 0 or an `errno`; nil if nothing is decided and the caller must write all bytes by `start`.
    func writeAtOnce(from buffer: UnsafeRawPointer, length: Int, at offset: UInt64) -> CInt? {
        nil
    }
}
