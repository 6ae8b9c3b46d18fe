/// Entries of an object in the order of their keys, as far as they were read.
package struct RadosListing: Sendable {
    /// The bounds of a listing: a member of a site may write any number of entries.
    struct Limits: Sendable {
        /// More than the tables of a host or the hosts of a site that are used.
        var entries = 8192
        /// Bytes of keys and values in memory.
        var bytes = 32 << 20
        /// Bytes of keys and values that the cluster has sent, with values that are too long.
        var sent = 1 << 30
    }

    /// The answer to one request.
    struct Part: Sendable {
        var entries: [RadosEntry] = []
        /// Bytes of keys and values, with values that are too long.
        var sent = 0
        var hasMore = false
    }

    package private(set) var entries: [RadosEntry] = []
    /// Whether these are all entries of the object.
    package private(set) var isWhole = false
    private var (bytes, sent) = (0, 0)

    /// Reads entries from the first one on, until there are no more, or a limit is passed by the last request.
    /// - Parameter read: Reads the next entries, all with keys after the given one, which has no zeros; nil if there is no
    ///   such object.
    init?(_ limits: Limits, _ read: (_ key: [UInt8]) throws(RadosError) -> Part?) throws(RadosError) {
        var start: [UInt8] = []
        while entries.count < limits.entries, bytes < limits.bytes, sent < limits.sent {
            guard let part = try read(start) else { return nil }
            let last = entries.last?.key
            entries += part.entries
            bytes += part.entries.reduce(0) { $0 + $1.key.count + $1.value.count }
            sent += part.sent
            guard part.hasMore else {
                isWhole = true
                return
            }
            // Entries that come again would come for ever.
            guard let next = part.entries.last?.key, last.map({ $0.lexicographicallyPrecedes(next) }) ?? true else {
                return
            }
            start = Self.start(after: next)
        }
    }

    /// The key after which a listing goes on. librados takes it as text that ends with a zero. So all keys with the same
    /// bytes before a zero are passed over, with the one that follows them. All of these are damaged.
    static func start(after key: [UInt8]) -> [UInt8] {
        guard let zero = key.firstIndex(of: 0) else { return key }
        return key[..<zero] + [1]
    }
}
