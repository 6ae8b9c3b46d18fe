import NIOConcurrencyHelpers

/// A lock for each name of a record: changes of one record exclude each other, and those of several don't wait for each other.
final class RecordLocks: Sendable {
    private struct Entry {
        let lock = NIOLock()
        /// Threads that hold it or wait for it.
        var users = 0
    }

    private let entries = NIOLockedValueBox<[String: Entry]>([:])

    /// Runs `body` while the records of these names are locked. It may wait for a flush of another thread, and must not be
    /// called for one of the names within `body`.
    func withLock<Result>(_ names: Set<String>, _ body: () throws -> Result) rethrows -> Result {
        // In one order, so that two callers never wait for each other.
        let names = names.sorted()
        let locks = entries.withLockedValue { entries in
            names.map { name in
                entries[name, default: Entry()].users += 1
                return entries[name]!.lock
            }
        }
        for lock in locks { lock.lock() }
        defer {
            for lock in locks.reversed() { lock.unlock() }
            entries.withLockedValue { entries in
                for name in names {
                    entries[name]!.users -= 1
                    if entries[name]!.users == 0 { entries[name] = nil }
                }
            }
        }
        return try body()
    }
}
