import BlockModel

/// Orders the steps that make filled blocks durable, so that the durable map never claims more than the durable image
/// holds (invariant 2).
///
/// 1. The changes of the map are consumed: only blocks that were marked before the image is flushed may become durably
/// present. 2. The image is flushed. 3. The manifest is flushed. 4. The consumed pages are written durably. If a step
/// fails, the pages return to the map. If the image could not be flushed, the memory that survives the
/// process is distrusted first. The kernel may have dropped what it was given. One sequence runs at a time: an older page must not be written
/// over a newer one.
package struct SaveSequence: Sendable {
    /// The next piece of work; its end is reported with `ended`.
    package enum Step: Equatable, Sendable {
        /// Make the image durable.
        case synchronizeImage
        /// Let no later process of this boot believe the map in shared memory. Can't fail.
        case distrustMemory
        /// Make the fingerprints of the filled blocks durable.
        case synchronizeManifest
        /// Write these pages of the map, and make them durable.
        case writePages([MapPage])
    }

    /// The step or the end that follows a step.
    package enum Next: Equatable, Sendable {
        case step(Step)
        /// The sequence is over.
        case over(WorkFailure?)
    }

    private let map: DurablePresentMap
    private var current: Step?
    private var pages: [MapPage] = []
    private var failure: WorkFailure?

    package init(map: DurablePresentMap) {
        self.map = map
    }

    /// Whether a sequence is under way.
    package var isRunning: Bool { current != nil }

    /// Begins a sequence. None may be under way.
    package mutating func begin() -> Step {
        precondition(!isRunning, "an older page must not be written over a newer one")
        pages = map.takeChanges()
        failure = nil
        current = .synchronizeImage
        return .synchronizeImage
    }

    /// The current step has ended.
    /// - Parameter failure: why it has failed; nil if it succeeded.
    package mutating func ended(_ failure: WorkFailure?) -> Next {
        guard let step = current else { preconditionFailure("no step is under way") }
        if let failure { return failed(at: step, failure) }
        switch step {
        case .synchronizeImage: return go(to: .synchronizeManifest)
        case .synchronizeManifest: return go(to: .writePages(pages))
        case .writePages: return finish()
        case .distrustMemory:
            map.putBack(pages)
            return finish()
        }
    }

    private mutating func failed(at step: Step, _ failure: WorkFailure) -> Next {
        self.failure = failure
        if step == .synchronizeImage { return go(to: .distrustMemory) }
        map.putBack(pages)
        return finish()
    }

    private mutating func go(to step: Step) -> Next {
        current = step
        return .step(step)
    }

    private mutating func finish() -> Next {
        current = nil
        pages = []
        return .over(failure)
    }
}
