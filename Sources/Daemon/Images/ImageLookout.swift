import Block
import Dispatch
import NBDServer
import NIOConcurrencyHelpers

/// Compares an export's open image with the file at its path.
///
/// The file system may hang, so each look runs on a thread, one at a time. A caller that comes during a look waits for
/// the next one, so that no change is missed.
final class ImageLookout: ExportWatcher {
    private struct State {
        var isLooking = false
        var waiting: [@Sendable (String?) -> Void] = []
        /// Whether the last look found a change.
        var wasChanged = false
    }

    private static let queue = DispatchQueue(label: "nearblock.lookout", attributes: .concurrent)

    private let image: RawImage
    private let path: @Sendable () -> String
    private let told: UInt64
    private let changed: @Sendable (ImageChange) async -> String?
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - image: The open image.
    ///   - path: Returns the path to examine.
    ///   - told: Size in bytes that clients were told.
    ///   - changed: Called with each change, and once with `.same` after a change was undone. Returns why new clients
    ///     are refused; nil if they are accepted.
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

    /// Looks once; returns why new clients are refused, or nil if they are accepted.
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
