/// How long hosts have been seen to be gone, added up by whichever host merges. No clock of another host or of the store
/// counts: only time for which somebody has watched.
struct AbsenceLedger: Codable, Sendable, Equatable {
    /// One host that is gone.
    struct Entry: Codable, Sendable, Equatable {
        /// The numbers of its last record; others begin anew. 0 without a record.
        var instance: UInt64
        var beat: UInt64
        /// Seconds for which it has been watched.
        var seconds: Double
    }

    /// The longest time between two looks that counts whole: the process may have stood still in between.
    private static let longestStep = 60.0

    private(set) var hosts: [String: Entry] = [:]

    /// Takes in one look.
    /// - Parameters:
    ///   - gone: The hosts without a beat, with their last records.
    ///   - seconds: The time since the last look.
    mutating func look(gone: [String: HostRecord?], after seconds: Double) {
        let step = min(max(0, seconds), Self.longestStep)
        hosts = Dictionary(
            uniqueKeysWithValues: gone.map { host, record in
                let (instance, beat) = (record?.instance ?? 0, record?.beat ?? 0)
                if var entry = hosts[host], entry.instance == instance, entry.beat == beat {
                    entry.seconds += step
                    return (host, entry)
                }
                return (host, Entry(instance: instance, beat: beat, seconds: 0))
            })
    }

    /// The hosts that have been gone for at least so many seconds, sorted.
    func gone(for seconds: Double) -> [String] {
        hosts.filter { $0.value.seconds >= seconds }.map(\.key).sorted()
    }
}
