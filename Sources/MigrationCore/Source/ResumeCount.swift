/// Counts how often the process has ended while it went on with a migration of an earlier process. A request that ends
/// the process then does not do so at every start.
///
/// A count is raised and made durable before the migration goes on. Proof that the process outlives it lowers the
/// count.
public struct ResumeCount: Codable, Equatable, Sendable {
    /// Limit of ends in a row before the destination has taken the disk's offer.
    public static let mostUnanswered = 2
    /// Limit of ends in a row before the process has gone on for a while; more than operators and tests that kill nodes
    /// reach.
    public static let mostEarly = 8

    /// Lives in a row in which the destination has not taken the offer.
    public private(set) var unanswered = 0
    /// Lives in a row that have not gone on for a while.
    public private(set) var early = 0

    /// No end so far.
    public init() {}

    /// Whether the migration is not to be gone on with any more.
    public var isTooMany: Bool { unanswered >= Self.mostUnanswered || early >= Self.mostEarly }

    /// Ends in a row, for people.
    public var ends: Int { max(unanswered, early) }

    /// The migration is about to go on.
    public mutating func begin() {
        unanswered = Self.next(unanswered, Self.mostUnanswered)
        early = Self.next(early, Self.mostEarly)
    }

    /// The destination has taken the offer, or the process has waited for that long enough.
    public mutating func answered() { unanswered = 0 }

    /// The process has gone on for a while, or the migration has ended.
    public mutating func settled() { self = ResumeCount() }

    /// A file may say anything.
    private static func next(_ count: Int, _ limit: Int) -> Int { min(max(count, 0), limit - 1) + 1 }
}
