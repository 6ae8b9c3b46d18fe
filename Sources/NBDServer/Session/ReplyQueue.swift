import Glibc
import NBD
import Ring

/// The unsent replies of one connection: small ones one after the other in a region, large ones by reference. One
/// system call sends many of them.
///
/// 1. `reserve`, fill and `commit` a small reply, or `append` a buffer behind its header.
/// 2. `sendNow` sends until the socket is full; the ring sends `firstPart`, and `didSend` removes the sent bytes.
/// 3. When all is sent, the region goes back to its pool.
struct ReplyQueue {
    private struct Part {
        var base: UnsafeMutableRawPointer
        var count: Int
        /// The buffer that goes back to the pool when it is sent; nil for a part of the region.
        var buffer: UnsafeMutableRawPointer?
        var bufferCount = 0
        var share = 0
    }

    private let regions: BufferPool
    private let pool: BufferPool
    private var region: UnsafeMutableRawPointer?
    private var used = 0
    private var parts: [Part] = []
    private var head = 0
    private static let partsPerCall = 64

    /// Creates an empty queue.
    /// - Parameters:
    ///   - regions: the pool of room for small replies; it must never run out.
    ///   - pool: the pool of the buffers that are appended.
    init(regions: BufferPool, pool: BufferPool) {
        self.regions = regions
        self.pool = pool
    }

    /// Bytes of appended buffers that are not wholly sent.
    private(set) var bufferBytes = 0

    /// Whether an unsent buffer is of a share for which others wait.
    var holdsAwaitedBuffer: Bool { parts[head...].contains { $0.buffer != nil && pool.isShort($0.share) } }

    /// Bytes sent so far.
    private(set) var sentBytes = 0

    var isEmpty: Bool { head == parts.count }

    /// Returns room for a small reply of `count` bytes; nil if queued replies must be sent first.
    /// - Parameter spare: bytes behind it that must stay free for other replies.
    mutating func reserve(_ count: Int, spare: Int) -> UnsafeMutableRawPointer? {
        if region == nil { region = regions.allocate(ServerLimits.replies, from: 0)?.buffer }
        guard let region, used + count + spare <= ServerLimits.replies else { return nil }
        return region + used
    }

    /// Queues the first `count` bytes of the reserved room.
    mutating func commit(_ count: Int) {
        let base = region! + used
        used += count
        if let last = parts.indices.last, last >= head, parts[last].buffer == nil,
            parts[last].base + parts[last].count == base
        {
            parts[last].count += count
        } else {
            parts.append(Part(base: base, count: count))
        }
    }

    /// Queues a buffer that was taken from the pool as `bufferCount` bytes; it goes back to `share` when sent.
    mutating func append(_ buffer: UnsafeMutableRawPointer, count: Int, bufferCount: Int, share: Int) {
        parts.append(Part(base: buffer, count: count, buffer: buffer, bufferCount: bufferCount, share: share))
        bufferBytes += bufferCount
    }

    /// Sends as much as the socket takes without waiting.
    /// - Returns: 0, or the `errno` that ended the connection.
    mutating func sendNow(_ socket: CInt) -> CInt {
        while !isEmpty {
            let sent = sendParts(socket)
            if sent < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN ? 0 : errno
            }
            didSend(sent)
        }
        return 0
    }

    /// The bytes to send first; nil if the queue is empty.
    var firstPart: (base: UnsafeMutableRawPointer, count: Int)? {
        isEmpty ? nil : (parts[head].base, parts[head].count)
    }

    /// Removes `count` sent bytes from the queue.
    mutating func didSend(_ count: Int) {
        sentBytes += count
        var left = count
        while left > 0 {
            if parts[head].count > left {
                parts[head].base += left
                parts[head].count -= left
                return
            }
            left -= parts[head].count
            release(parts[head])
            head += 1
        }
        if isEmpty { reset() }
    }

    /// Empties the queue and returns every buffer to its pool.
    mutating func discard() {
        for part in parts[head...] { release(part) }
        head = parts.count
        reset()
    }

    private mutating func release(_ part: Part) {
        guard let buffer = part.buffer else { return }
        bufferBytes -= part.bufferCount
        pool.free(buffer, part.bufferCount, share: part.share)
    }

    private mutating func reset() {
        parts.removeAll(keepingCapacity: true)
        head = 0
        used = 0
        if let region { regions.free(region, ServerLimits.replies) }
        region = nil
    }

    private func sendParts(_ socket: CInt) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.partsPerCall) { vectors in
            let count = min(Self.partsPerCall, parts.count - head)
            for index in 0..<count {
                vectors[index] = iovec(iov_base: parts[head + index].base, iov_len: parts[head + index].count)
            }
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = count
            return sendmsg(socket, &message, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
        }
    }
}
