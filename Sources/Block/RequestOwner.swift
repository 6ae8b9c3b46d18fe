import Ring

/// Who asked: told on the loop's thread when a request has ended.
open class RequestOwner: RingHandler {
    /// `request` has ended; its `error` says how.
    open func finished(_ request: UnsafeMutablePointer<BlockRequest>) {}
}
