extension SourceMachine {
    /// What is known at the end of a round; in seconds.
    package struct Situation: Equatable, Sendable {
        /// How long the guest would wait if what is left were sent behind the fence.
        package var expectedPause: Double
        /// How long it may.
        package var maximumPause: Double
        /// How long it would with nothing left.
        package var leastPause: Double = 0
        /// Bytes that are left.
        package var dirty: UInt64
        /// Bytes of these that are not hot; see `CopyPlan`.
        package var settled: UInt64
        /// So many may be, whatever they take.
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

        /// Whether what is left could be sent behind the fence.
        package var fits: Bool { dirty <= threshold || expectedPause <= maximumPause }
        /// Whether the guest would hardly notice what is left.
        package var isSmall: Bool { dirty <= threshold || expectedPause <= leastPause + SourceMachine.unnoticed }
    }
}
