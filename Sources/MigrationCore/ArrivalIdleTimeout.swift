import PeerModel

/// How long the source of an arriving disk may be silent: until it has told what the disk is, it always has something to say.
/// From then on it may wait for the switchover for as long as its guest and operator like. Does nothing itself.
package struct ArrivalIdleTimeout: Sendable {
    /// From its being taken to its first message.
    package var afterOffer = PeerLimits.silenceAfterOffer
    /// From then on until the manifest has ended.
    package var withinManifest = PeerLimits.silenceWithinManifest
    private var isOver = false

    package init() {}

    /// - Returns: how long nothing may come once this has been done; nil for ever.
    package mutating func limit(after action: DestinationMachine.Action) -> Duration? {
        switch action {
        case .open: return afterOffer
        case .finishManifest, .finishRound, .prepare, .prepareRest, .activate, .abandon: isOver = true
        case .resolve, .compare, .clear, .store, .expect, .forget: break
        }
        return isOver ? nil : withinManifest
    }
}
