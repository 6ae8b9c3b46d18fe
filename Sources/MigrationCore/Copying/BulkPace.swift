import PeerModel

/// Decides how fast bulk is sent while demands use the same path, so that they wait in no router's queue.
///
/// The round trip shows a queue. While it is longer than the path's shortest, bulk becomes slower, and otherwise faster
/// (as LEDBAT does, RFC 6817).
package struct BulkPace: Sendable {
    /// A new limit for bulk.
    package struct Change: Equatable {
        /// nil for no limit.
        package var bytesPerSecond: UInt64?

        package init(bytesPerSecond: UInt64? = nil) {
            self.bytesPerSecond = bytesPerSecond
        }
    }

    /// A demand is likely to follow another within this time.
    private static let memory = Duration.seconds(3)
    /// The queue that demands may find: the longest of these three. `tolerated` is in seconds. `toleratedPart` is a
    /// part of the shortest round trip, which varies. `toleratedBytes` covers packets that the kernel sends at once, of
    /// which the last waits for the first.
    private static let tolerated = 0.004
    private static let toleratedPart = 1.0 / 16
    private static let toleratedBytes = 6000.0
    private static let shortestInterval = Duration.milliseconds(10)
    private static let slower = 0.85
    private static let faster = 1.08
    /// Growth before the flow has found out what the path carries.
    private static let fasterAtFirst = 1.25
    /// Bytes that a flow may send in a round trip before the path's rate is known.
    private static let firstWindow = 64e3
    /// Bounds of the pace, as parts of the rate that the path has carried. At the lowest pace, a queue does not come
    /// from bulk; above the highest, the pace does not limit bulk.
    private static let range = 0.4...2

    private var fastest = 0.0
    private var pace: Double?
    /// Whether a queue has been seen, so that the pace reflects what the path carries.
    private var hasSettled = false
    private var nextLook: ContinuousClock.Instant?

    package init() {}

    /// Whether it is time to measure the path.
    package func isDue(at now: ContinuousClock.Instant) -> Bool { nextLook.map { $0 <= now } ?? true }

    /// Takes a measurement of the path.
    /// - Parameters:
    ///   - carried: bytes a second that the path has carried for another connection; 0 if unknown.
    ///   - sinceDemand: time since the last demand; nil if there was none.
    /// - Returns: the new limit; nil if nothing changes.
    package mutating func next(
        _ path: PathState, carried: UInt64 = 0, sinceDemand: Duration?, at now: ContinuousClock.Instant
    ) -> Change? {
        // A change of pace shows after a round trip.
        nextLook = now + max(path.roundTrip, Self.shortestInterval)
        // Little has arrived of a flow that has just begun, and it can't tell its own queue from others'.
        if carried > 0, pace == nil { hasSettled = true }
        fastest = max(fastest, Double(max(carried, path.bytesPerSecond)))
        guard let sinceDemand, sinceDemand < Self.memory, fastest > 0 else {
            defer { pace = nil }
            return pace == nil ? nil : Change(bytesPerSecond: nil)
        }
        let arrives = Double(path.bytesPerSecond)
        let first = Self.firstWindow / max(path.shortestRoundTrip.inSeconds, 1e-3)
        let before = pace ?? max(arrives, Double(carried), first)
        let isQueued = isQueued(path, at: min(before, arrives))
        if isQueued { hasSettled = true }
        let growth = hasSettled ? Self.faster : Self.fasterAtFirst
        let wanted = isQueued ? min(before, arrives) * Self.slower : before * growth
        let highest = max(fastest * Self.range.upperBound, hasSettled ? 0 : first)
        let next = min(max(wanted, fastest * Self.range.lowerBound), highest)
        defer { pace = next }
        return Change(bytesPerSecond: UInt64(next))
    }

    private func isQueued(_ path: PathState, at pace: Double) -> Bool {
        let shortest = path.shortestRoundTrip.inSeconds
        let tolerated = max(Self.tolerated, shortest * Self.toleratedPart, Self.toleratedBytes / max(pace, 1))
        return path.roundTrip.inSeconds - shortest > tolerated
    }
}
