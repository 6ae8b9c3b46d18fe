import PeerModel

/// How fast bulk is sent while demands go over the same path: so that no queue stands in the routers for them to wait in.
/// Does nothing itself.
///
/// The round trip tells of the queue: where it is longer than the path's shortest, bulk becomes slower, otherwise faster
/// (as LEDBAT does, RFC 6817).
package struct BulkPace: Sendable {
    /// What is to be changed.
    package struct Change: Equatable {
        /// nil for no limit.
        package var bytesPerSecond: UInt64?

        package init(bytesPerSecond: UInt64? = nil) {
            self.bytesPerSecond = bytesPerSecond
        }
    }

    /// For so long after a demand another one is likely.
    private static let memory = Duration.seconds(3)
    /// A queue that demands may find: at least so long; this part of the shortest round trip, which never is the same; and so
    /// many bytes, as the kernel sends a few packets at once and the last of them waits for the first.
    private static let tolerated = 0.004
    private static let toleratedPart = 1.0 / 16
    private static let toleratedBytes = 6000.0
    private static let shortestInterval = Duration.milliseconds(10)
    private static let slower = 0.85
    private static let faster = 1.08
    /// A flow that has just begun has not found out yet what the path carries.
    private static let fasterAtFirst = 1.25
    /// What a flow may send in a round trip before anything is known of the path. Bytes.
    private static let firstWindow = 64e3
    /// Of what the path has carried. A queue that is there at the lowest is not bulk's; faster than the highest, it is not the
    /// pace that limits it.
    private static let range = 0.4...2

    private var fastest = 0.0
    private var pace: Double?
    /// A queue has been seen, so that the pace is about what the path carries.
    private var hasSettled = false
    private var nextLook: ContinuousClock.Instant?

    package init() {}

    /// Whether the path is to be looked at.
    package func isDue(at now: ContinuousClock.Instant) -> Bool { nextLook.map { $0 <= now } ?? true }

    /// The path is like this now.
    /// - Parameters:
    ///   - carried: bytes per second that the path has carried for another connection; 0 where that is not known.
    ///   - sinceDemand: how long ago the last demand was; nil where there was none.
    /// - Returns: nil where nothing changes.
    package mutating func next(
        _ path: PathState, carried: UInt64 = 0, sinceDemand: Duration?, at now: ContinuousClock.Instant
    ) -> Change? {
        // A change shows after a round trip.
        nextLook = now + max(path.roundTrip, Self.shortestInterval)
        // Of a flow that has just begun little has arrived, and it can't tell its own queue from that of others.
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
