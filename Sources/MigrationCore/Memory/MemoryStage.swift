import MigrationProtocol

/// The urgency of the bytes of one connection of a memory migration: how much of them may wait between the two
/// hypervisors.
package enum MemoryStage: Sendable {
    /// The guest runs at the source.
    case preCopy
    /// The guest runs at the destination. A page that it waits for comes behind those that are on their way.
    case postCopy
    /// The connection has nothing but pages that the guest waits for at the destination.
    case requested

    /// Bytes of the stream that go in one batch.
    package var batchBytes: Int { self == .preCopy ? MemoryBatch.maximumBytes : Self.urgentBytes }

    /// Bytes of the stream that may wait for the next batch.
    package var waitingBytes: Int { self == .preCopy ? 1 << 20 : Self.urgentBytes }

    /// Bytes for which a batch's own cost, some 100 bytes on the link and a hash, is still small: 16 pages.
    private static let urgentBytes = 64 << 10
}
