import Ring
import Synchronization

/// Who asked: told on the loop's thread when a request has ended.
open class RequestOwner: RingHandler {
    private let detail = Synchronization.Atomic(StatusDetail.full.rawValue)

    /// `request` has ended; its `error` says how.
    open func finished(_ request: UnsafeMutablePointer<BlockRequest>) {}

    /// How much the owner wants to know by its block statuses, those in flight included. Any thread.
    public var statusDetail: StatusDetail { StatusDetail(rawValue: detail.load(ordering: .relaxed))! }

    /// From now on the owner wants no more than `most`; it never wants more again. On the loop's thread.
    public func limitStatus(to most: StatusDetail) {
        if most < statusDetail { detail.store(most.rawValue, ordering: .relaxed) }
    }
}
