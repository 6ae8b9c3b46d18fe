/// The speed at which another host answers: how long its next answer will take, and whether it is worth waiting for. It
/// does nothing itself, and reads no clock.
struct HostPace {
    typealias Instant = ContinuousClock.Instant

    /// A host must give so many bytes a second while somebody waits for it.
    private static let leastRate = 4.0 * 1_048_576
    /// Assumed of a host that has not answered yet: a LAN.
    private static let (usualRoundTrip, usualRate) = (0.001, 100e6)
    /// The part of a new measurement in the average.
    private static let freshness = 0.125

    private var asked: [UInt32: (bytes: UInt64, at: Instant, wasAlone: Bool)] = [:]
    private var outstanding: UInt64 = 0
    private var lastAnswer: Instant?
    /// Seconds from a request to its answer when nothing else was asked for; nil if unknown.
    private var roundTrip: Double?
    private var bytesPerSecond: Double?
    private var debt: WaitingDebt

    /// - Parameter mostDebt: The longest that the waits for the host may take beyond what its bytes are worth, in seconds.
    init(mostDebt: Double) { debt = WaitingDebt(leastRate: Self.leastRate, most: mostDebt) }

    /// Notes a request.
    mutating func ask(_ id: UInt32, bytes: UInt64, now: Instant) {
        asked[id] = (bytes, now, outstanding == 0)
        outstanding += bytes
    }

    /// Notes an answer to a request.
    mutating func answer(_ id: UInt32, now: Instant) {
        guard let request = asked.removeValue(forKey: id) else { return }
        outstanding -= request.bytes
        let began = max(request.at, lastAnswer ?? request.at)
        lastAnswer = now
        if request.wasAlone {
            Self.blend(seconds(from: request.at, to: now), into: &roundTrip)
        } else {
            let rate = Double(request.bytes) / max(seconds(from: began, to: now), 1e-6)
            Self.blend(rate, into: &bytesPerSecond)
        }
        debt.pay(bytes: request.bytes)
    }

    /// Notes that somebody has waited for the host. Several who wait at the same time count once.
    mutating func wait(from start: Instant, to end: Instant) { debt.wait(from: start, to: end) }

    /// The longest that the next wait may take.
    var patience: Duration { debt.patience }

    /// Whether the waits took too long for what has come.
    var isTooSlow: Bool { debt.isSpent }

    /// Whether the waits were worth it, but for the last ones.
    var isGood: Bool { debt.isPaid }

    /// The time that an answer to a further request would take.
    var expectedWait: Duration {
        .seconds((roundTrip ?? Self.usualRoundTrip) + Double(outstanding) / (bytesPerSecond ?? Self.usualRate))
    }

    /// No answers come any more. After a rest, the host gets half the time.
    mutating func giveUp() {
        (asked, outstanding, lastAnswer) = ([:], 0, nil)
        debt.forgiveHalf()
    }

    private func seconds(from start: Instant, to end: Instant) -> Double { (end - start) / .seconds(1) }

    private static func blend(_ value: Double, into average: inout Double?) {
        average = average.map { $0 + (value - $0) * freshness } ?? value
    }
}
