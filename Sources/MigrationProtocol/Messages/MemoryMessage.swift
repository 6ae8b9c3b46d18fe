import NIOCore

/// A message about one connection of a guest's memory migration, which two nodes carry between two hypervisors.
public enum MemoryMessage: Sendable, Equatable {
    // Source to destination.

    /// Names the disks whose blocks may be referred to.
    case offer(MemoryOffer)
    /// The next bytes of the stream.
    case batch(MemoryBatch)
    /// The answer to `again`: the bytes of that batch as one zstd frame, without references.
    case repair(ByteBuffer)
    /// The stream has ended, after so many bytes; the digest of its `StreamProof`.
    case end(byteCount: UInt64, digest: DiskRoot)

    // Destination to source.

    /// The hypervisor is connected. `history`: pages that are kept to be referred to. One bit for each disk of the offer:
    /// whether its blocks can be read here.
    case accepted(history: UInt32, readable: [Bool])
    /// So many batches have been given to the hypervisor since the beginning.
    case delivered(batches: UInt64)
    /// The batch of this number, from 0, holds a reference to other bytes here: send it as they are.
    case again(batch: UInt64)
    /// Bytes of the hypervisor for the one at the source.
    case back(ByteBuffer)
    /// The hypervisor sends no more.
    case backEnd
    /// The hypervisor has got everything, and the digests are equal.
    case ended

    /// The most bytes of `back`.
    package static let maximumBack = 64 << 10
}
