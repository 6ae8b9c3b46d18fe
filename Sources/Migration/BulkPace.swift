import Peer

/// How fast bulk is sent while demands go over the same path: so that no queue stands in the routers for them to wait in.
/// Does nothing itself.
///
/// The round trip tells of the queue: where it is longer than the path's shortest, bulk becomes slower, otherwise faster
/// (as LEDBAT does, RFC 6817).
struct BulkPace: Sendable {
    /// What is to be changed.
    struct Change: Equatable {
        /// nil for no limit.
        var bytesPerSecond: UInt64?
    }

    /// For so long after a demand another one is likely.
    private static let memory = Duration.seconds(1)
    /// A queue that demands may find: at least so long, and this part of the shortest round trip, which never is the same.
    private static let tolerated = Duration.milliseconds(4)
    private static let toleratedPart = 8
    private static let shortestInterval = Duration.milliseconds(10)
    private static let slower = 0.85
    /// Where no queue is: a flow that has just begun has not found out yet what the path carries.
    private static let faster = 1.25
    /// Of what the path has carried. A queue that is there at the lowest is not bulk's; faster than the highest, it is not the
    /// pace that limits it.
    private static let range = 0.4...2

    private var fastest = 0.0
    private var pace: Double?
    private var nextLook: ContinuousClock.Instant?

    /// Whether the path is to be looked at.
    func isDue(at now: ContinuousClock.Instant) -> Bool { nextLook.map { $0 <= now } ?? true }

    /// The path is like this now.
    /// - Parameter sinceDemand: how long ago the last demand was; nil where there was none.
    /// - Returns: nil where nothing changes.
    mutating func next(_ path: PathState, sinceDemand: Duration?, at now: ContinuousClock.Instant) -> Change? {
        // A change shows after a round trip.
        nextLook = now + max(path.roundTrip, Self.shortestInterval)
        fastest = max(fastest, Double(path.bytesPerSecond))
        guard let sinceDemand, sinceDemand < Self.memory, fastest > 0 else {
            defer { pace = nil }
            return pace == nil ? nil : Change(bytesPerSecond: nil)
        }
        let tolerated = max(Self.tolerated, path.shortestRoundTrip / Self.toleratedPart)
        let queue = (path.roundTrip - path.shortestRoundTrip) / tolerated
        let arrives = Double(path.bytesPerSecond)
        let before = pace ?? arrives
        let wanted = queue > 1 ? min(before, arrives) * Self.slower : before * (Self.faster - queue * (Self.faster - 1))
        let next = min(max(wanted, fastest * Self.range.lowerBound), fastest * Self.range.upperBound)
        defer { pace = next }
        return Change(bytesPerSecond: UInt64(next))
    }
}
