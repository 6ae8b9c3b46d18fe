/// Finds files of killed processes: temporary ones that stay the same for long. It trusts no clock but this host's
/// monotonic one, and does nothing itself.
struct Leftovers: Sendable {
    /// The time without growth after which a file is left over: a live writer writes all the time.
    static let age = Duration.seconds(600)

    private var seen: [String: (size: UInt64, since: ContinuousClock.Instant)] = [:]

    /// Takes in the temporary files of one look.
    /// - Returns: The names of those that are left over.
    mutating func look(at files: [String: UInt64], now: ContinuousClock.Instant) -> [String] {
        let earlier = seen
        seen = Dictionary(
            uniqueKeysWithValues: files.map { name, size in
                if let old = earlier[name], old.size == size { return (name, old) }
                return (name, (size, now))
            })
        return seen.filter { now - $0.value.since >= Self.age }.map(\.key).sorted()
    }
}
