/// Decides which loop serves which sessions.
///
/// A loop with several clients answers more requests each time that it wakes. So a loop with little to do gives its clients to
/// an earlier one. On a single core, so does a busy one. Otherwise a busy loop gives half of its work to another one. Clients
/// with long batches leave in any case, so that short requests need not wait for them.
///
/// The decisions of one loop:
/// 1. `decide` after each measurement of its load.
/// 2. `didSpread` if sessions have left because of it.
struct LoopSharing {
    /// Thousandths of its time from which on a loop is busy.
    static let busy = 500
    /// Thousandths that one loop may take after it has got another one's work. Half of `busy`, so that it does not give the work
    /// away again.
    static let merged = 250
    /// Sessions that one loop may have after it has got another one's, since all of them use its buffers.
    static let mostMerged = 64
    /// Thousandths of a core that must be idle before another loop begins to work, if the process has less than `several`.
    static let spare = 500
    /// Thousandths of a core from which on the process has several cores. Two loops on two cores were 20 % faster than one, for
    /// four clients on the same cores (`benchmarks/nbd`, 4 KiB reads at depth 32, 2026-12-01).
    static let several = 2000
    /// Thousandths of a core; if fewer are idle, loops on one core are in each other's way.
    static let crowded = 100
    /// Nanoseconds: for so long, work that was given away stays there. Twice as long each time that it has come back before.
    static let shortestRest: UInt64 = 1_000_000_000
    static let longestRest: UInt64 = 32_000_000_000

    /// A loop's knowledge of itself and the others.
    struct View {
        /// The loop's own number.
        var own: Int
        /// All loops by their numbers.
        var loops: [LoopState]
        /// The work of each of its own sessions since the last decision.
        var works: [SessionWork]
        /// The cores that the process may use; nil if it is not known.
        var cores: CoreState?
    }

    enum Decision: Equatable {
        case stay
        /// Moves these of the loop's sessions to another loop, since this one is busy.
        case spread([Int], to: Int)
        /// Moves these of the loop's sessions to another loop, which has room for them.
        case merge([Int], to: Int)
    }

    private var rest = shortestRest
    private var maySpreadAt: UInt64 = 0

    /// Whether a loop that runs for so many thousandths of its time needs to know of the cores.
    static func needsCores(busy: Int) -> Bool { busy > merged / 2 }

    /// Returns what the loop should do at `now`, in nanoseconds of the monotonic clock.
    func decide(_ view: View, at now: UInt64) -> Decision {
        let own = view.loops[view.own]
        let active = view.works.indices.filter { view.works[$0].receives > 0 }
        guard !active.isEmpty, !own.isResting else { return .stay }
        let spread = spread(active, view, at: now)
        return spread == .stay ? merge(active, view) : spread
    }

    /// Notes that sessions have left a busy loop at `now`.
    mutating func didSpread(at now: UInt64) {
        // If the work of last time has come back at once, it was better here.
        let hasComeBack = maySpreadAt > 0 && now &- maySpreadAt < rest
        rest = hasComeBack ? min(2 * rest, Self.longestRest) : Self.shortestRest
        maySpreadAt = now + rest
    }

    private func spread(_ active: [Int], _ view: View, at now: UInt64) -> Decision {
        let own = view.loops[view.own]
        guard own.busy >= Self.busy, active.count > 1 else { return .stay }
        let others = view.loops.indices.filter { $0 != view.own && view.loops[$0].isOpen }
        let long = active.filter { view.works[$0].isLong }
        let isMixed = !long.isEmpty && long.count < active.count
        let hasCore = view.cores.map { $0.usable >= Self.several || $0.idle >= Self.spare } ?? false
        guard now >= maySpreadAt, isMixed || hasCore,
            let target = others.min(by: { view.loops[$0].busy < view.loops[$1].busy }),
            // With half of the work, the other loop should have less to do than this one has now. Long batches leave anyway.
            view.loops[target].busy < (isMixed ? own.busy : own.busy / 2)
        else { return .stay }
        let given = isMixed ? long : half(of: active, view.works, from: own.busy, to: view.loops[target].busy)
        return given.isEmpty ? .stay : .spread(given, to: target)
    }

    private func merge(_ active: [Int], _ view: View) -> Decision {
        let own = view.loops[view.own]
        let isCrowded = view.cores.map { $0.usable < Self.several && $0.idle < Self.crowded } ?? false
        let limit = isCrowded ? 1000 : Self.merged
        let target = view.loops[..<view.own].firstIndex {
            !$0.isLong && $0.isOpen && $0.busy > 0 && $0.busy + own.busy <= limit
                && $0.sessions + active.count <= Self.mostMerged
        }
        guard !own.isLong, let target else { return .stay }
        return .merge(active, to: target)
    }

    /// The sessions with about half of the work of a loop, of which the other one then has less to do than this one had. The
    /// one with the most work stays: if it has nearly all, it would only take the trouble to the other loop.
    private func half(of active: [Int], _ works: [SessionWork], from own: Int, to other: Int) -> [Int] {
        let all = active.reduce(0) { $0 + works[$1].bytes }
        let most = active.max { works[$0].bytes < works[$1].bytes }
        let limit = min(all * 5 / 8, all / own * (own - other))
        var given: [Int] = []
        var sum = 0
        for index in active where index != most && sum + works[index].bytes <= limit {
            given.append(index)
            sum += works[index].bytes
        }
        return given
    }
}
