import Glibc
import NBD
import Ring

/// What one connection has yet to send: small replies one after the other in a region, large ones by reference, all
/// of them leaving in few system calls.
///
/// 1. `reserve`, fill and `commit` a small reply, or `append` a header with a buffer of its own.
/// 2. `sendNow` sends what the socket takes; what is left goes through the ring as `firstPart`, and `didSend` tells
///    what of it went out.
/// 3. Once all is sent, the region is free again and goes back to the pool.
struct ReplyQueue {
    private struct Part {
        var base: UnsafeMutableRawPointer
        var count: Int
        /// Given back to the pool when sent; nil for a part of the region.
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

    /// - Parameters:
    ///   - regions: gives the room for small replies; it must never run out.
    ///   - pool: where buffers that are appended go back to.
    init(regions: BufferPool, pool: BufferPool) {
        self.regions = regions
        self.pool = pool
    }

    /// Bytes of the appended buffers that have not all been sent.
    private(set) var bufferBytes = 0

    /// Whether a buffer that others wait for in its share's line has not been sent yet.
    var holdsAwaitedBuffer: Bool { parts[head...].contains { $0.buffer != nil && pool.isShort($0.share) } }

    /// Bytes that have gone out so far.
    private(set) var sentBytes = 0

    var isEmpty: Bool { head == parts.count }

    /// Room for a small reply of `count` bytes, or nil where what waits has to be sent first.
    /// - Parameter spare: bytes behind it that must be left for others.
    mutating func reserve(_ count: Int, spare: Int) -> UnsafeMutableRawPointer? {
        if region == nil { region = regions.take(ServerLimits.replies, from: 0)?.buffer }
        guard let region, used + count + spare <= ServerLimits.replies else { return nil }
        return region + used
    }

    /// Puts the first `count` bytes of what was reserved into the line.
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

    /// Puts a buffer of the pool, taken as `bufferCount` bytes of a share, into the line; it goes back to the pool when sent.
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

    /// What is to be sent first.
    var firstPart: (base: UnsafeMutableRawPointer, count: Int)? {
        isEmpty ? nil : (parts[head].base, parts[head].count)
    }

    /// Takes `count` sent bytes out of the line.
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

    /// Gives every buffer back, sent or not.
    mutating func discard() {
        for part in parts[head...] { release(part) }
        head = parts.count
        reset()
    }

    private mutating func release(_ part: Part) {
        guard let buffer = part.buffer else { return }
        bufferBytes -= part.bufferCount
        pool.give(buffer, part.bufferCount, share: part.share)
    }

    private mutating func reset() {
        parts.removeAll(keepingCapacity: true)
        head = 0
        used = 0
        if let region { regions.give(region, ServerLimits.replies) }
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
