import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore

/// Bytes of a hypervisor on their way to the link. One task puts them in, and one takes them out.
final class MemoryInbox: Sendable {
    private struct State {
        var chunks = CircularBuffer<ByteBuffer>()
        var byteCount = 0
        var isEnded = false
    }

    /// Bytes that may wait here, beside one chunk.
    private static let most = 1 << 20

    private let state = NIOLockedValueBox(State())
    private let room = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let more = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// Puts bytes in, and returns once there is room for further ones.
    func put(_ chunk: ByteBuffer) async {
        state.withLockedValue { state in
            state.chunks.append(chunk)
            state.byteCount += chunk.readableBytes
        }
        more.continuation.yield()
        var room = room.stream.makeAsyncIterator()
        while state.withLockedValue({ $0.byteCount >= Self.most }) {
            guard await room.next() != nil else { return }
        }
    }

    /// No bytes follow.
    func end() {
        state.withLockedValue { $0.isEnded = true }
        more.continuation.yield()
    }

    /// Whether there is nothing to take out now, and whether nothing follows.
    var isEmpty: Bool { state.withLockedValue { $0.byteCount == 0 } }
    var isEnded: Bool { state.withLockedValue { $0.isEnded && $0.byteCount == 0 } }

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
        room.continuation.yield()
    }

    /// Waits until there is something to take out, or nothing follows.
    /// - Parameter limit: nil for no limit.
    /// - Returns: false if the time is over.
    func wait(atMost limit: Duration? = nil) async -> Bool {
        if !isEmpty || isEnded { return true }
        let timer = limit.map { limit in
            Task { [wake = more.continuation] in
                try await Task.sleep(for: limit)
                wake.yield()
            }
        }
        defer { timer?.cancel() }
        var wakes = more.stream.makeAsyncIterator()
        repeat {
            guard await wakes.next() != nil else { return false }
        } while isEmpty && !isEnded && limit == nil
        return !isEmpty || isEnded
    }
}
