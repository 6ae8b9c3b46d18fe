/// Decides when a link that is kept up is connected again: soon at first, and then ever more seldom.
package struct ReconnectionPace: Equatable, Sendable {
    private static let first = Duration.milliseconds(50)
    private static let longest = Duration.seconds(2)

    private var next = first

    package init() {}

    /// A connection, or the attempt to make one, has ended.
    /// - Parameter lasted: since the attempt began.
    /// - Returns: the time until the next attempt.
    package mutating func ended(after lasted: Duration) -> Duration {
        if lasted > Self.longest { next = Self.first }
        defer { next = min(next * 2, Self.longest) }
        return next
    }
}
