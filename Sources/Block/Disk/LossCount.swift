import Synchronization

/// How often changes of a disk that clients were told of, and had not flushed, may have been lost at another server.
///
/// Any thread may use it. Each client compares: whoever was there at a loss is owed one failed flush, whoever came later none.
public final class LossCount: Sendable {
    private let count = Atomic<UInt64>(0)

    /// No loss yet.
    public init() {}

    /// The losses so far.
    public var now: UInt64 { count.load(ordering: .acquiring) }

    /// A loss; called before any client can hear of a flush that succeeded after it.
    public func note() { count.add(1, ordering: .acquiringAndReleasing) }
}
