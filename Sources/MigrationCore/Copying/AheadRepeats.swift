/// Decides how often work is repeated ahead of the fence, each time for what the guest has written meanwhile. It is
/// repeated while each run takes some time, and clearly less than the run before.
package struct AheadRepeats: Equatable, Sendable {
    private static let most = 5
    private static let quick = Duration.milliseconds(10)
    private static let worthwhile = 0.7

    private var done = 0
    private var last = Duration.seconds(3600)

    package init() {}

    /// Records that the work has been done once more.
    /// - Returns: whether to do it again.
    package mutating func ended(after took: Duration) -> Bool {
        done += 1
        defer { last = took }
        return done < Self.most && took >= Self.quick && took <= last * Self.worthwhile
    }
}
