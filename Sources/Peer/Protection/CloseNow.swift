import NIOCore

/// Asks the pipeline to close the socket without a farewell: the encryption's would wait for a peer that may be gone.
struct CloseNow: Sendable {}

extension Channel {
    /// Closes a connection at once; what is still to be sent is lost.
    func closeNow() {
        triggerUserOutboundEvent(CloseNow(), promise: nil)
    }
}
