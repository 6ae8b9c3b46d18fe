/// Decides whether a migration that has failed is tried again.
package struct AttemptSeries: Equatable, Sendable {
    /// Attempts that may end because the destination did not answer behind the fence.
    private static let mostSlowAttempts = 3

    private let isResumed: Bool
    private var slowAttempts = 0

    /// - Parameter isResumed: the migration has been under way before, so that a destination that does not answer is waited
    ///   for.
    package init(isResumed: Bool = false) {
        self.isResumed = isResumed
    }

    /// An attempt has failed.
    /// - Parameters:
    ///   - kind: nil where it has not failed.
    ///   - wasAccepted: the destination had taken the offer of a disk.
    /// - Returns: the series with the next attempt; nil where there is none.
    package func next(
        after kind: SwitchGroupMachine.FailureKind?, isCancelled: Bool, wasAccepted: Bool
    ) -> AttemptSeries? {
        guard isResumed || wasAccepted, let kind, !isCancelled else { return nil }
        var next = AttemptSeries(isResumed: true)
        next.slowAttempts = slowAttempts
        switch kind {
        case .lasting: return nil
        case .passing: return next
        case .slow:
            guard slowAttempts < Self.mostSlowAttempts else { return nil }
            next.slowAttempts += 1
            return next
        }
    }
}
