import MigrationCore

/// The progress of a guest's memory, all of its connections together.
public struct MemoryStatus: Codable, Sendable, Equatable {
    /// The progress of its hypervisor's connections.
    public enum State: String, Codable, Sendable {
        /// No connection has come.
        case waiting
        case relaying
        /// The hypervisor at the destination has everything.
        case ended
        case failed
    }

    /// The guest's name at the destination.
    public var name: String
    /// `failed` if one of the connections has failed, otherwise `relaying` as long as one is carried.
    public var state: State
    /// Bytes of the hypervisor's stream.
    public var stream: UInt64 = 0
    /// Bytes on the link, in both directions.
    public var wire: UInt64 = 0
    /// Bytes of pages of zeros.
    public var zero: UInt64 = 0
    /// Bytes of pages that are blocks of the guest's disks.
    public var disk: UInt64 = 0
    /// Bytes of pages that were sent before.
    public var repeated: UInt64 = 0
    /// Bytes of pages that crossed the link, before compression.
    public var link: UInt64 = 0
    /// Bytes that are no pages.
    public var other: UInt64 = 0
    /// The reason of a failure, or why pages are not looked for; nil for neither.
    public var problem: String?

    /// A guest whose hypervisor has not connected.
    init(name: String) {
        self.name = name
        state = .waiting
    }

    /// Adds the pages of one connection.
    mutating func add(_ tally: MemoryTally, wire: UInt64) {
        let page = UInt64(StreamPart.pageBytes)
        stream += tally.stream
        self.wire += wire
        zero += tally.zeros * page
        disk += tally.disk * page
        repeated += tally.sent * page
        link += tally.pages * page
        other += tally.bytes
    }
}
