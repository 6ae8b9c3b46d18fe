/// How far the reading of an image has come.
public struct BuildProgress: Hashable, Sendable {
    /// Bytes of the disk passed, holes included; never less than in the report before.
    public let done: UInt64
    /// Bytes of the disk.
    public let total: UInt64

    /// A report from its parts.
    public init(done: UInt64, total: UInt64) {
        self.done = done
        self.total = total
    }
}
