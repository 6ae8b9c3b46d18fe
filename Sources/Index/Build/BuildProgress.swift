/// Progress of reading an image.
public struct BuildProgress: Hashable, Sendable {
    /// Bytes of the disk passed, holes included; never less than in the report before.
    public let done: UInt64
    /// Size of the disk in bytes.
    public let total: UInt64

    /// Creates a report; `done` is at most `total`.
    public init(done: UInt64, total: UInt64) {
        self.done = done
        self.total = total
    }
}
