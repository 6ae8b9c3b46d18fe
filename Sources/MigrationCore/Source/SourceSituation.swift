extension SourceMachine {
    /// Measurements at the end of a round; times in seconds.
    package struct Situation: Equatable, Sendable {
        /// Downtime if everything that is left were sent behind the fence.
        package var expectedPause: Double
        /// Longest downtime that is allowed.
        package var maximumPause: Double
        /// Downtime if nothing were left.
        package var leastPause: Double = 0
        /// Bytes that are left.
        package var dirty: UInt64
        /// Bytes of these that are not hot; see `CopyPlan`.
        package var settled: UInt64
        /// Bytes that may be left, whatever they take.
        package var threshold: UInt64 = 0

        package init(
            expectedPause: Double, maximumPause: Double, leastPause: Double = 0, dirty: UInt64, settled: UInt64,
            threshold: UInt64 = 0
        ) {
            self.expectedPause = expectedPause
            self.maximumPause = maximumPause
            self.leastPause = leastPause
            self.dirty = dirty
            self.settled = settled
            self.threshold = threshold
        }

        /// Whether everything that is left could be sent behind the fence.
        package var fits: Bool { dirty <= threshold || expectedPause <= maximumPause }
        /// Whether the guest would hardly notice the rest.
        package var isSmall: Bool { dirty <= threshold || expectedPause <= leastPause + SourceMachine.unnoticed }
    }
}
