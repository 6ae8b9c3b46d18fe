/// Carries requests to the node that holds the disk now.
public protocol RequestForwarder: AnyObject, Sendable {
    /// Sends a request over and calls its `finish` exactly once, when the other side has answered. While the link is
    /// down, the request waits and is sent again.
    func forward(_ request: ForwardedRequest)
}
