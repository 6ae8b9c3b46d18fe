/// Looks for blocks of one question that may come soon for earlier disks. It begins with the last one: blocks come in about the
/// order in which they were asked for. A block for which nothing is to be waited is not looked at again. A question then costs
/// one pass, however long it waits. Promises that are made behind it are not noticed.
package struct PromiseScan: Sendable {
    package enum Step: Equatable {
        /// Wait until this promise is not open any more, or its end; then take the next step.
        case wait(BlockPromises.Promise)
        /// Blocks are left for the next step, so that a lock is not held for long.
        case more
        /// None of the blocks may come soon.
        case over
    }

    /// The most blocks that a step looks at.
    package static let most = 256

    private let prefixes: [UInt64]
    /// Blocks that are not settled, from the first on.
    private var left: Int
    /// Looks at blocks.
    package private(set) var looks = 0

    package init(_ prefixes: [UInt64]) {
        self.prefixes = prefixes
        left = prefixes.count
    }

    /// - Parameters:
    ///   - domains: of the disk that asks.
    ///   - isEarlier: whether a disk of this host began to arrive before that one.
    package mutating func next(
        in promises: BlockPromises, domains: Set<String>, at now: ContinuousClock.Instant,
        isEarlier: (Int) -> Bool
    ) -> Step {
        guard !promises.isEmpty else { return .over }
        let end = max(0, left - Self.most)
        while left > end {
            looks += 1
            let prefix = prefixes[left - 1]
            if let promise = promises.promise(of: prefix, domains: domains, at: now, isEarlier: isEarlier) {
                return .wait(promise)
            }
            left -= 1
        }
        return left > 0 ? .more : .over
    }
}
