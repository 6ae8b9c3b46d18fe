import Ring
import Synchronization

/// The owner of requests, which is called on its loop's thread when one has ended.
open class RequestOwner: RingHandler {
    private let detail = Synchronization.Atomic(StatusDetail.full.rawValue)

    /// Takes back `request`, which has ended; its `error` is the result.
    open func finished(_ request: UnsafeMutablePointer<BlockRequest>) {}

    /// The detail that the owner wants from its block statuses, including those in flight. Any thread may read it.
    public var statusDetail: StatusDetail { StatusDetail(rawValue: detail.load(ordering: .relaxed))! }

    /// Lowers `statusDetail` to `most` at least; it never rises again. On the loop's thread.
    public func limitStatus(to most: StatusDetail) {
        if most < statusDetail { detail.store(most.rawValue, ordering: .relaxed) }
    }
}
