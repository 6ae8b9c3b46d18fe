/// The answer to `Hello`.
public struct Welcome: Sendable, Equatable {
    package var support = ProtocolSupport.own
    /// Bytes of a block here; fingerprints must be of such blocks.
    package var blockSize: UInt32
    /// Differs from before if changes that were answered and not flushed may be lost; 0 if unknown.
    package var boot: UInt64 = 0

    package init(support: ProtocolSupport = ProtocolSupport.own, blockSize: UInt32, boot: UInt64 = 0) {
        self.support = support
        self.blockSize = blockSize
        self.boot = boot
    }
}
