import PeerModel

/// Limits how long the source of an arriving disk may be silent. Until the manifest has ended, the source always has
/// something to send. Later it may wait for the switchover for as long as its guest and operator like.
package struct ArrivalIdleTimeout: Sendable {
    /// Limit from the offer's acceptance to the next message.
    package var afterOffer = PeerLimits.silenceAfterOffer
    /// Limit for every further message until the manifest has ended.
    package var withinManifest = PeerLimits.silenceWithinManifest
    private var isOver = false

    package init() {}

    /// - Returns: the longest silence after `action`; nil for no limit.
    package mutating func limit(after action: DestinationMachine.Action) -> Duration? {
        switch action {
        case .open: return afterOffer
        case .finishManifest, .finishRound, .prepare, .prepareRest, .activate, .abandon: isOver = true
        case .resolve, .compare, .answer, .clear, .store, .expect, .forget, .note: break
        }
        return isOver ? nil : withinManifest
    }
}
