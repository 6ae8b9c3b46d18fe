import NIOCore

/// Asks the pipeline to close the socket without a word: TLS would wait for an answer from a peer that may be gone.
struct AbortConnection: Sendable {}

extension Channel {
    /// Closes a connection at once, from any thread; bytes that are still to be sent are lost.
    func abortConnection() {
        triggerUserOutboundEvent(AbortConnection(), promise: nil)
    }
}
