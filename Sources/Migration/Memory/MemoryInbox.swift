import MigrationCore
import NIOCore

/// Bytes of a hypervisor on their way to the link. One task puts them in, and one takes them out.
final class MemoryInbox: Sendable {
    private struct State {
        var chunks = CircularBuffer<ByteBuffer>()
        var byteCount = 0
        /// Bytes that may wait here, beside one chunk.
        var most = MemoryStage.preCopy.waitingBytes
        /// Nothing follows.
        var isClosed = false

        var isEnded: Bool { isClosed && byteCount == 0 }
        var hasNews: Bool { isClosed || byteCount > 0 }
    }

    private let state = WatchedValue(State())

    /// Puts bytes in, and returns once there is room for further ones.
    /// - Throws: `CancellationError`.
    func put(_ chunk: ByteBuffer) async throws {
        state.withLockedValue { state in
            state.chunks.append(chunk)
            state.byteCount += chunk.readableBytes
        }
        try await state.waitUnlessCancelled { $0.byteCount < $0.most }
    }

    /// Limits the bytes that may wait here, beside one chunk and those that wait already.
    func limit(to most: Int) { state.withLockedValue { $0.most = most } }

    /// No bytes follow.
    func end() { state.withLockedValue { $0.isClosed = true } }

    /// Whether everything has been taken out, and nothing follows.
    var isEnded: Bool { state.withLockedValue { $0.isEnded } }

    /// Moves bytes behind those of `buffer`.
    /// - Parameter limit: the most bytes that `buffer` then has.
    func move(to buffer: inout ByteBuffer, limit: Int) {
        state.withLockedValue { state in
            while buffer.readableBytes < limit, var chunk = state.chunks.popFirst() {
                let part = min(chunk.readableBytes, limit - buffer.readableBytes)
                buffer.writeImmutableBuffer(chunk.readSlice(length: part)!)
                state.byteCount -= part
                if chunk.readableBytes > 0 { state.chunks.prepend(chunk) }
            }
        }
    }

    /// Waits until there is something to take out, or nothing follows.
    /// - Parameter limit: nil for no limit.
    /// - Returns: false if the time is over.
    /// - Throws: `CancellationError`.
    func wait(atMost limit: Duration?) async throws -> Bool {
        guard let limit else {
            try await state.waitUnlessCancelled { $0.hasNews }
            return true
        }
        let hasCome = await state.wait(until: { $0.hasNews }, atMost: limit)
        try Task.checkCancellation()
        return hasCome
    }
}
