/// Decides how long one arriving disk waits for disks at other hosts, and which hosts it asks no more. All is measured here:
/// what a host says of itself changes nothing. It does nothing itself, and reads no clock.
struct ArrivalBudget {
    typealias Instant = ContinuousClock.Instant

    struct Limits: Sendable {
        /// The longest that waits for one host may take beyond what its bytes are worth. An earlier disk's first bytes may be
        /// 3 s behind its promises, while its source looks for a prefix. Seconds.
        var host = 6.0
        /// The same for all hosts together.
        var all = 10.0
        /// Bytes a second for which waiting is worth it: a slower link is not shared.
        var leastRate = 262_144.0
        /// The longest that one question lets the other host wait: what has come by then is read, and shows whether to go on.
        var step = Duration.seconds(2)
        /// The longest wait for an answer for which the other host need not wait itself.
        var answer = Duration.seconds(3)
    }

    private struct Host {
        var debt: WaitingDebt
        /// Blocks that were as the host has said.
        var kept = 0
        /// Blocks that it had claimed, and did not give.
        var missing = 0
        var hasLied = false
    }

    /// Blocks that a host has claimed and not given, from which on it may be left alone, if they are also half of all.
    private static let mostMissing = 256

    let limits: Limits
    private var hosts: [String: Host] = [:]
    private var all: WaitingDebt

    init(_ limits: Limits = Limits()) {
        self.limits = limits
        all = WaitingDebt(leastRate: limits.leastRate, most: limits.all)
    }

    /// Whether no host is waited for any more.
    var isSpent: Bool { all.isSpent }

    /// Whether a host is not asked any more.
    func isOver(_ host: String) -> Bool {
        guard let host = hosts[host] else { return isSpent }
        let isEmpty = host.missing >= Self.mostMissing && host.missing >= host.kept
        return isSpent || host.hasLied || isEmpty || host.debt.isSpent
    }

    /// The longest that a host may take for an answer.
    /// - Parameter step: The time for which it may wait itself.
    func patience(for host: String, waiting step: Duration = .zero) -> Duration {
        isOver(host) ? .zero : min(left(for: host), step + limits.answer)
    }

    /// The time for which a host may wait itself before it answers.
    func step(for host: String) -> Duration {
        isOver(host) ? .zero : max(.zero, min(limits.step, left(for: host) - limits.answer))
    }

    /// Notes that this disk has waited for a host.
    mutating func wait(for host: String, from start: Instant, to end: Instant) {
        all.wait(from: start, to: end)
        var known = hosts[host] ?? new
        known.debt.wait(from: start, to: end)
        hosts[host] = known
    }

    /// Notes what a host has given of the blocks that it claimed to have.
    /// - Parameters:
    ///   - bytes: Of those that had the right hash.
    ///   - kept: Their number.
    ///   - wrong: The number of those that had another hash. An honest host hashes them first.
    ///   - missing: The number of those that did not come. They may have been written meanwhile.
    mutating func gave(_ host: String, bytes: UInt64, kept: Int, wrong: Int, missing: Int) {
        all.pay(bytes: bytes)
        var known = hosts[host] ?? new
        known.debt.pay(bytes: bytes)
        known.kept += kept
        known.missing += missing
        known.hasLied = known.hasLied || wrong > 0
        hosts[host] = known
    }

    private var new: Host { Host(debt: WaitingDebt(leastRate: limits.leastRate, most: limits.host)) }

    private func left(for host: String) -> Duration {
        min(all.patience, (hosts[host]?.debt ?? new.debt).patience)
    }
}
