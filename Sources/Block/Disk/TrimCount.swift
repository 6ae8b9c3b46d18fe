import Synchronization

/// Counts the bytes of a disk that clients have trimmed. Any thread may use it.
public final class TrimCount: Sendable {
    private let count = Atomic<UInt64>(0)

    /// Starts at 0.
    public init() {}

    /// Bytes that trims have named so far; bytes that were trimmed twice count twice.
    public var bytes: UInt64 { count.load(ordering: .relaxed) }

    /// Counts a trim of `length` bytes that has succeeded.
    func add(_ length: UInt64) { count.wrappingAdd(length, ordering: .relaxed) }
}
