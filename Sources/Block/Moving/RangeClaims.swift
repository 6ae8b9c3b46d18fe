import NIOConcurrencyHelpers

/// Keeps requests that must not meet apart. An exclusive claim on a range waits for every other claim that overlaps it,
/// and the others wait for it. First come, first served.
///
/// Shared by all loops; what holds claims are requests to a disk, so there are never more than a few hundred.
final class RangeClaims: Sendable {
    /// Bytes of a disk, and whether anybody else may work on them meanwhile.
    struct Claim: Equatable, Sendable {
        let range: Range<UInt64>
        let isExclusive: Bool

        func excludes(_ other: Claim) -> Bool {
            (isExclusive || other.isExclusive) && range.overlaps(other.range)
        }
    }

    private struct Waiter: Sendable {
        let claim: Claim
        let resume: @Sendable () -> Void
    }

    private struct State {
        var active: [Claim] = []
        var waiting: [Waiter] = []
    }

    private let state = NIOLockedValueBox(State())

    /// - Parameter resume: called later, from any thread, with the claim taken.
    /// - Returns: whether the claim is taken now; `resume` is not called then.
    func take(_ claim: Claim, orElse resume: @escaping @Sendable () -> Void) -> Bool {
        state.withLockedValue { state in
            let isFree =
                !state.active.contains { $0.excludes(claim) } && !state.waiting.contains { $0.claim.excludes(claim) }
            if isFree {
                state.active.append(claim)
            } else {
                state.waiting.append(Waiter(claim: claim, resume: resume))
            }
            return isFree
        }
    }

    /// Gives a claim back that was taken.
    func give(_ claim: Claim) {
        let ready = state.withLockedValue { state in
            guard let index = state.active.firstIndex(of: claim) else { preconditionFailure("nobody took this claim") }
            state.active.swapAt(index, state.active.count - 1)
            state.active.removeLast()
            return Self.admit(&state)
        }
        for waiter in ready { waiter.resume() }
    }

    /// Takes those out of the line that nobody before them excludes.
    private static func admit(_ state: inout State) -> [Waiter] {
        var ready: [Waiter] = []
        var left: [Waiter] = []
        for waiter in state.waiting {
            let isFree =
                !state.active.contains { $0.excludes(waiter.claim) }
                && !left.contains { $0.claim.excludes(waiter.claim) }
            if isFree {
                state.active.append(waiter.claim)
                ready.append(waiter)
            } else {
                left.append(waiter)
            }
        }
        state.waiting = left
        return ready
    }
}
