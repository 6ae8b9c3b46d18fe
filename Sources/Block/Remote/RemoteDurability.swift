import NIOConcurrencyHelpers

/// Whether a lost connection may have cost writes that were acknowledged and never flushed.
///
/// A server that went down may have taken them along. Connecting again must not hide that: the next flush fails, once.
final class RemoteDurability: Sendable {
    private struct State {
        var acknowledged: UInt64 = 0
        var flushed: UInt64 = 0
        var owesFailure = false
    }

    private let state = NIOLockedValueBox(State())

    /// A write was acknowledged without having been forced to be durable.
    func noteWrite() {
        state.withLockedValue { $0.acknowledged += 1 }
    }

    /// What a flush that begins now will cover.
    func beginFlush() -> UInt64 {
        state.withLockedValue { $0.acknowledged }
    }

    /// A flush has succeeded.
    /// - Returns: false where it must be reported as failed all the same.
    func endFlush(covering count: UInt64) -> Bool {
        state.withLockedValue { state in
            state.flushed = max(state.flushed, count)
            defer { state.owesFailure = false }
            return !state.owesFailure
        }
    }

    func noteLoss() {
        state.withLockedValue { $0.owesFailure = $0.owesFailure || $0.acknowledged > $0.flushed }
    }
}
