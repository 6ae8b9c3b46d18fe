/// Decides which hosts are alive by the beats of their records. It trusts no clock but this host's monotonic one.
package struct Heartbeats: Sendable {
    /// The time between two beats of a node.
    package static let interval = Duration.seconds(10)
    /// The longest time without a new beat of a host that is alive: a busy store delays some.
    package static let limit = Duration.seconds(60)

    private struct Seen: Sendable {
        var instance: UInt64
        var beat: UInt64
        var since: ContinuousClock.Instant
    }

    private var seen: [String: Seen] = [:]
    /// The time of the last look. A node that has not looked for long knows nothing newer.
    private var looked = ContinuousClock.now

    package init() {}

    /// Takes in the records of one look at the store. Hosts without a record are forgotten.
    package mutating func look(at records: [HostRecord], now: ContinuousClock.Instant) {
        let earlier = seen
        looked = now
        seen = Dictionary(
            records.map { record in
                if let old = earlier[record.host], old.instance == record.instance, old.beat == record.beat {
                    return (record.host, old)
                }
                return (record.host, Seen(instance: record.instance, beat: record.beat, since: now))
            }
        ) { first, _ in first }
    }

    /// Returns whether a host was alive at the last look; nil if that has not found its record. A host counts as alive until
    /// looks without a beat of it span `limit`.
    package func isAlive(_ host: String) -> Bool? {
        seen[host].map { looked - $0.since < Self.limit }
    }
}
