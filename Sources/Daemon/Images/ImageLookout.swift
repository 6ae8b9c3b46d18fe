import Block
import Dispatch
import NBDServer
import NIOConcurrencyHelpers

/// Compares the image of one export, as it is open, with what stands at its path.
///
/// A look may take as long as a file system hangs, so it has a thread; there is one at a time. Who asks while it is under
/// way waits for the next one: what has changed since it began must not be missed.
final class ImageLookout: ExportWatcher {
    private struct State {
        var isLooking = false
        var waiting: [@Sendable (String?) -> Void] = []
        /// The last look found something.
        var wasChanged = false
    }

    private static let queue = DispatchQueue(label: "nearblock.lookout", attributes: .concurrent)

    private let image: RawImage
    private let path: @Sendable () -> String
    private let told: UInt64
    private let changed: @Sendable (ImageChange) async -> String?
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - image: what is open.
    ///   - path: where it was found.
    ///   - told: bytes that clients are told.
    ///   - changed: told what has changed, and once that nothing is changed any more; answers why new clients can't have the
    ///     export, and nil where they can.
    init(
        image: RawImage, path: @escaping @Sendable () -> String, told: UInt64,
        changed: @escaping @Sendable (ImageChange) async -> String?
    ) {
        self.image = image
        self.path = path
        self.told = told
        self.changed = changed
    }

    func look(then done: @escaping @Sendable (String?) -> Void) {
        let begins = state.withLockedValue { state in
            state.waiting.append(done)
            defer { state.isLooking = true }
            return !state.isLooking
        }
        if begins { begin() }
    }

    /// As `look(then:)`.
    func look() async -> String? {
        await withCheckedContinuation { continuation in look { continuation.resume(returning: $0) } }
    }

    private func begin() {
        Self.queue.async { [self] in
            let callers = state.withLockedValue { state in
                defer { state.waiting = [] }
                return state.waiting
            }
            let change = ImageChange(of: image, at: path(), told: told)
            let isNews = state.withLockedValue { state in
                defer { state.wasChanged = change != .same }
                return change != .same || state.wasChanged
            }
            guard isNews else { return end(callers, nil) }
            Task { end(callers, await changed(change)) }
        }
    }

    private func end(_ callers: [@Sendable (String?) -> Void], _ refusal: String?) {
        for caller in callers { caller(refusal) }
        let goesOn = state.withLockedValue { state in
            state.isLooking = !state.waiting.isEmpty
            return state.isLooking
        }
        if goesOn { begin() }
    }
}
