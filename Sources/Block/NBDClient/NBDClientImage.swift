import CLibNBD
import Dispatch
import Glibc
import NIOConcurrencyHelpers

/// A disk on another NBD server, read by worker threads with blocking calls.
///
/// Any number of threads may use it at once: each call has a connection of its own, and idle connections are kept. A
/// call that takes longer than the timeout fails, and so do further calls for a while. Otherwise a server that hangs
/// would delay its user at every block.
public final class NBDClientImage: Sendable {
    /// Bytes of one read: a server that was not asked for its limits must accept them.
    private static let longestRead = 32 << 20
    private static let longestRange: UInt64 = 1 << 30

    private struct State {
        var idle: [NBDClientLink] = []
        /// The time before which nothing is tried; nil if no call has failed yet.
        var resting: DispatchTime?
    }

    /// The URI as the user wrote it.
    public let uri: String
    /// Bytes of the disk.
    public let size: UInt64
    private let traits: NBDClientTraits
    private let timeoutSeconds: Int
    private let state: NIOLockedValueBox<State>

    /// Whether a user's argument is an NBD URI and not a file; a file of such a name can be given as `./NAME`.
    public static func isURI(_ text: String) -> Bool {
        ["nbd", "nbds"].contains { scheme in
            ["", "+unix", "+vsock"].contains { text.hasPrefix("\(scheme)\($0)://") }
        }
    }

    /// Connects. Blocks the thread.
    /// - Parameter timeoutSeconds: the longest time for one answer.
    /// - Throws: `NBDClientError`.
    public init(uri: String, timeoutSeconds: Int = 10) throws {
        let link = try NBDClientLink(uri: uri, timeoutSeconds: timeoutSeconds)
        self.uri = uri
        self.timeoutSeconds = timeoutSeconds
        traits = link.traits
        size = link.traits.size
        state = NIOLockedValueBox(State(idle: [link]))
    }

    deinit {
        for link in state.withLockedValue({ $0.idle }) { link.leave() }
    }

    /// Fills `buffer` with the bytes at `offset`. Blocks the thread.
    /// - Throws: `NBDClientError`.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try withLink { link in
            var done = 0
            while done < buffer.count {
                let count = min(buffer.count - done, Self.longestRead)
                try link.perform(uri, timeoutSeconds: timeoutSeconds) {
                    nbd_aio_pread(
                        $0, buffer.baseAddress! + done, count, offset + UInt64(done), nbd_completion_callback(), 0)
                }
                done += count
            }
        }
    }

    /// Asks for the extents from `offset` on. Blocks the thread.
    /// - Parameter offset: less than `size`.
    /// - Returns: at least one extent, and as many as the server tells at once. If it tells none, everything is data.
    /// - Throws: `NBDClientError`.
    public func extents(from offset: UInt64) throws -> [BlockExtent] {
        precondition(offset < size)
        guard traits.canTellStatus else { return [BlockExtent(length: size - offset, state: [])] }
        let found = ExtentList(limit: min(Self.longestRange, size - offset))
        try withLink { link in
            try link.perform(uri, timeoutSeconds: timeoutSeconds) {
                nbd_aio_block_status($0, found.limit, offset, found.callback(), nbd_completion_callback(), 0)
            }
        }
        guard let first = found.extents.first, first.length > 0 else {
            throw NBDClientError(uri, "the server reports no extents at offset \(offset)")
        }
        return found.extents
    }

    private func withLink<Result>(_ body: (NBDClientLink) throws -> Result) throws -> Result {
        let kept = try state.withLockedValue { state -> NBDClientLink? in
            if let resting = state.resting, .now() < resting {
                throw NBDClientError(uri, "the server did not answer recently")
            }
            return state.idle.popLast()
        }
        // A kept connection may have been closed meanwhile; its quick failure does not mean that the server hangs.
        if let kept {
            let began = DispatchTime.now()
            do { return try use(kept, body) } catch {
                if DispatchTime.now() > began + .milliseconds(timeoutSeconds * 900) { throw rest(after: error) }
            }
        }
        do {
            return try use(try NBDClientLink(uri: uri, timeoutSeconds: timeoutSeconds), body)
        } catch {
            throw rest(after: error)
        }
    }

    private func use<Result>(_ link: NBDClientLink, _ body: (NBDClientLink) throws -> Result) throws -> Result {
        do {
            guard link.traits.size == size else { throw NBDClientError(uri, "the size of the export has changed") }
            let result = try body(link)
            state.withLockedValue { $0.idle.append(link) }
            return result
        } catch {
            link.leave()
            throw error
        }
    }

    private func rest(after error: any Error) -> any Error {
        state.withLockedValue { $0.resting = .now() + .seconds(timeoutSeconds * 6) }
        return error
    }
}
