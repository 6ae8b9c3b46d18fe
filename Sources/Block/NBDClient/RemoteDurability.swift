import NIOConcurrencyHelpers

/// Tells whether a lost connection may have cost writes that were acknowledged and never flushed.
///
/// A server that went down may have taken them along. Connecting again must not hide that: `LossCount`.
final class RemoteDurability: Sendable {
    private struct State {
        var acknowledged: UInt64 = 0
        var flushed: UInt64 = 0
    }

    private let losses: LossCount
    private let state = NIOLockedValueBox(State())

    /// - Parameter losses: where a loss is counted.
    init(losses: LossCount) {
        self.losses = losses
    }

    /// A write was acknowledged without having been forced to be durable.
    func noteWrite() {
        state.withLockedValue { $0.acknowledged += 1 }
    }

    /// What a flush that begins now will cover.
    func beginFlush() -> UInt64 {
        state.withLockedValue { $0.acknowledged }
    }

    /// A flush has succeeded.
    func endFlush(covering count: UInt64) {
        state.withLockedValue { $0.flushed = max($0.flushed, count) }
    }

    /// The server could not make durable what it had acknowledged, or the connection to it was lost.
    func noteLoss() {
        let isLost = state.withLockedValue { state in
            defer { state.flushed = state.acknowledged }
            return state.acknowledged > state.flushed
        }
        if isLost { losses.note() }
    }
}
