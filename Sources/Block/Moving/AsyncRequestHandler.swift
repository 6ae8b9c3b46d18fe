/// Serves requests outside their loop: at the node that holds the disk now, or by waiting for missing blocks.
public protocol AsyncRequestHandler: AnyObject, Sendable {
    /// Serves a request and calls its `finish` exactly once. While the link is down, the request waits and is sent
    /// again. Any thread may call.
    func handle(_ request: AsyncRequest)
}
