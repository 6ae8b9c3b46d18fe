import CLibNBD
import Dispatch
import Glibc
import NIOConcurrencyHelpers

/// A disk that another NBD server holds, read by worker threads with plain blocking calls.
///
/// Any number of threads may use it at once: each call has a connection to itself, and connections are kept for the next.
/// Whatever takes longer than the patience fails, and so does the next call for a while, so that a server that hangs does
/// not hold up its user block by block.
public final class RemoteImage: Sendable {
    /// Bytes of data in one command: what every server takes that was not asked for its limits.
    private static let longestRead = 32 << 20
    private static let longestRange: UInt64 = 1 << 30

    private struct State {
        var idle: [RemoteLink] = []
        /// Until then nothing is tried.
        var resting: DispatchTime?
    }

    /// As the user wrote it.
    public let uri: String
    /// Bytes.
    public let size: UInt64
    private let traits: RemoteTraits
    private let patience: Int
    private let state: NIOLockedValueBox<State>

    /// Whether a user means another server and not a file; a file of such a name can be given as `./NAME`.
    public static func isURI(_ text: String) -> Bool {
        ["nbd", "nbds"].contains { scheme in
            ["", "+unix", "+vsock"].contains { text.hasPrefix("\(scheme)\($0)://") }
        }
    }

    /// Connects, and blocks meanwhile.
    /// - Parameter patience: seconds that one answer may take.
    /// - Throws: `RemoteError`.
    public init(uri: String, patience: Int = 10) throws {
        let link = try RemoteLink(uri: uri, patience: patience)
        self.uri = uri
        self.patience = patience
        traits = link.traits
        size = link.traits.size
        state = NIOLockedValueBox(State(idle: [link]))
    }

    deinit {
        for link in state.withLockedValue({ $0.idle }) { Self.leave(link) }
    }

    /// Fills `buffer` from `offset` on.
    /// - Throws: `RemoteError`.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try withLink { link in
            var done = 0
            while done < buffer.count {
                let count = min(buffer.count - done, Self.longestRead)
                try link.perform(uri, patience) {
                    nbd_aio_pread(
                        $0, buffer.baseAddress! + done, count, offset + UInt64(done), nbd_completion_callback(), 0)
                }
                done += count
            }
        }
    }

    /// What is known of the bytes from `offset` on, in order, as far as the server tells at once: at least one run. A server
    /// that does not tell calls everything data.
    /// - Parameter offset: less than `size`.
    /// - Throws: `RemoteError`.
    public func extents(from offset: UInt64) throws -> [BlockExtent] {
        precondition(offset < size)
        guard traits.canTellStatus else { return [BlockExtent(length: size - offset, state: [])] }
        let found = ExtentList(limit: min(Self.longestRange, size - offset))
        try withLink { link in
            try link.perform(uri, patience) {
                nbd_aio_block_status($0, found.limit, offset, found.callback(), nbd_completion_callback(), 0)
            }
        }
        guard let first = found.extents.first, first.length > 0 else {
            throw RemoteError(uri, "it tells nothing of its allocation at \(offset)")
        }
        return found.extents
    }

    private func withLink<Result>(_ body: (RemoteLink) throws -> Result) throws -> Result {
        let kept = try state.withLockedValue { state -> RemoteLink? in
            if let resting = state.resting, .now() < resting { throw RemoteError(uri, "it did not answer lately") }
            return state.idle.popLast()
        }
        // A connection that was kept may have been closed meanwhile, which is soon found out and says nothing.
        if let kept {
            let began = DispatchTime.now()
            do { return try use(kept, body) } catch {
                if DispatchTime.now() > began + .milliseconds(patience * 900) { throw rest(after: error) }
            }
        }
        do {
            return try use(try RemoteLink(uri: uri, patience: patience), body)
        } catch {
            throw rest(after: error)
        }
    }

    private func use<Result>(_ link: RemoteLink, _ body: (RemoteLink) throws -> Result) throws -> Result {
        do {
            guard link.traits.size == size else { throw RemoteError(uri, "its size has changed") }
            let result = try body(link)
            state.withLockedValue { $0.idle.append(link) }
            return result
        } catch {
            Self.leave(link)
            throw error
        }
    }

    private func rest(after error: any Error) -> any Error {
        state.withLockedValue { $0.resting = .now() + .seconds(patience * 6) }
        return error
    }

    /// Says goodbye without waiting for an answer.
    private static func leave(_ link: RemoteLink) {
        nbd_aio_disconnect(link.handle, 0)
        nbd_close(link.handle)
    }

    /// What one block status told.
    private final class ExtentList {
        let limit: UInt64
        private(set) var extents: [BlockExtent] = []

        init(limit: UInt64) {
            self.limit = limit
        }

        func callback() -> nbd_extent_callback {
            nbd_extent_callback(
                callback: { context, name, _, entries, count, _ in
                    let list = Unmanaged<ExtentList>.fromOpaque(context!).takeUnretainedValue()
                    if String(cString: name!) == RemoteLink.allocation { list.take(entries!, count) }
                    return 0
                },
                user_data: Unmanaged.passRetained(self).toOpaque(),
                free: { Unmanaged<ExtentList>.fromOpaque($0!).release() })
        }

        /// Pairs of a length and flags; the last may reach beyond what was asked for.
        private func take(_ entries: UnsafePointer<UInt32>, _ count: Int) {
            var left = limit - extents.reduce(0) { $0 + $1.length }
            for index in stride(from: 0, to: count - 1, by: 2) where left > 0 {
                let length = min(UInt64(entries[index]), left)
                left -= length
                extents.append(BlockExtent(length: length, state: BlockState(rawValue: UInt64(entries[index + 1]))))
            }
        }
    }
}
