import NIOConcurrencyHelpers
import Synchronization

/// Counts the times that a remote server may have lost changes of a disk that were acknowledged and not flushed.
///
/// Any thread may use it. Each client compares the count with an earlier one: a client that was connected at a loss is
/// owed one failed flush (`OwedFlush`).
public final class LossCount: Sendable {
    private let count = Atomic<UInt64>(0)
    private let followers = NIOLockedValueBox<[LossCount]>([])

    /// Starts at 0.
    public init() {}

    /// The number of losses so far.
    public var now: UInt64 { count.load(ordering: .acquiring) }

    /// Counts a loss. Call it before any client can hear of a successful flush after the loss.
    public func increment() {
        count.add(1, ordering: .acquiringAndReleasing)
        for follower in followers.withLockedValue({ $0 }) { follower.increment() }
    }

    /// Counts each further loss in another count, too: that of a disk whose clients knew it before they came to this device.
    /// - Parameter other: has no way back to this count.
    public func follow(with other: LossCount) {
        guard other !== self else { return }
        followers.withLockedValue { followers in
            if !followers.contains(where: { $0 === other }) { followers.append(other) }
        }
    }
}
