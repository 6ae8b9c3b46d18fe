import NIOConcurrencyHelpers

/// Keeps the numbers of requests by the names of exports, for as long as an export or a client uses them. An export that
/// replaces another one of its name goes on counting where that one is. Any thread may use it.
public final class TallyBook: Sendable {
    private struct Entry {
        weak var tallies: RequestTallies?
    }

    private let loops: Int
    private let entries = NIOLockedValueBox<[String: Entry]>([:])

    /// Creates an empty book.
    /// - Parameter loops: number of the server's loops.
    public init(loops: Int) {
        self.loops = loops
    }

    /// Returns the numbers of an export, which are 0 if nothing has used the name lately.
    public func tallies(of export: String) -> RequestTallies {
        entries.withLockedValue { entries in
            if let known = entries[export]?.tallies { return known }
            entries = entries.filter { $0.value.tallies != nil }
            let tallies = RequestTallies(loops: loops)
            entries[export] = Entry(tallies: tallies)
            return tallies
        }
    }

    /// All that are in use, by the names of their exports.
    public var all: [(export: String, tallies: RequestTallies)] {
        entries.withLockedValue { $0.compactMap { name, entry in entry.tallies.map { (name, $0) } } }
            .sorted { $0.export < $1.export }
    }
}
