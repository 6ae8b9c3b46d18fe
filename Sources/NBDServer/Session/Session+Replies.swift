import Block
import Glibc
import NBD

/// Replies: from the end of a request to the socket.
extension Session {
    /// Queues the reply to a request that has ended, and frees its slot.
    func answer(_ slot: UnsafeMutablePointer<BlockRequest>) {
        if slot.pointee.kind == .flush { slot.pointee.error = owedFlush!.outcome(of: slot.pointee.error) }
        let error = ErrorCode(errno: slot.pointee.error)
        switch slot.pointee.kind {
        case .read where error == .none: answerRead(slot)
        case .status where error == .none: answerStatus(slot)
        default:
            if error != .none { recordFailure(slot) }
            queueReply(error, cookie: slot.pointee.cookie, offset: slot.pointee.offset)
        }
        countEnded(slot, hasFailed: error != .none)
        releaseRequest(slot)
    }

    func recordFailure(_ slot: UnsafeMutablePointer<BlockRequest>) {
        export?.failures.record(
            slot.pointee.kind, error: slot.pointee.error, mustBeFast: slot.pointee.mustBeFast,
            offset: slot.pointee.offset, length: slot.pointee.length)
    }

    func recordFailedWrite(_ error: CInt, offset: UInt64, length: UInt64) {
        export?.failures.record(.write, error: error, mustBeFast: false, offset: offset, length: length)
    }

    private func answerRead(_ slot: UnsafeMutablePointer<BlockRequest>) {
        guard !isHungUp else { return }
        let count = Int(slot.pointee.length)
        queueDataHeader(cookie: slot.pointee.cookie, offset: slot.pointee.offset, count: count)
        queueBuffer(of: slot, count: count)
    }

    private func answerStatus(_ slot: UnsafeMutablePointer<BlockRequest>) {
        guard !isHungUp else { return }
        queueBuffer(of: slot, count: statusReply!.store(slot))
    }

    /// Queues the header before `count` bytes of a read.
    func queueDataHeader(cookie: UInt64, offset: UInt64, count: Int) {
        let style = negotiation.style
        Reply.storeData(style, cookie: cookie, offset: offset, count: count, to: roomForHeader())
        stream.replies.commit(style.dataHeaderLength)
    }

    /// Queues the first `count` bytes of a request's buffer, which then belongs to the queue.
    func queueBuffer(of slot: UnsafeMutablePointer<BlockRequest>, count: Int) {
        let bufferCount = bufferLength(of: slot)
        stream.replies.append(
            slot.pointee.buffer!, count: count, bufferCount: bufferCount, share: slot.pointee.bufferShare)
        slot.pointee.buffer = nil
        buffers.didPassOn(bufferCount)
        flushAtBatchEnd()
    }

    /// Queues a reply without data.
    func queueReply(_ error: ErrorCode, cookie: UInt64, offset: UInt64) {
        guard !isHungUp else { return }
        stream.replies.commit(
            Reply.storeEnd(negotiation.style, error: error, cookie: cookie, offset: offset, to: roomForHeader()))
        flushAtBatchEnd()
    }

    private func roomForHeader() -> UnsafeMutableRawPointer {
        guard let room = stream.replies.reserve(Reply.maximumHeader, spare: 0) else {
            preconditionFailure("no request begins without room for its reply")
        }
        return room
    }

    /// Bytes of the headers that requests in flight will need.
    var headersOwed: Int { slots!.inFlight * Reply.maximumHeader }

    /// Whether `count` bytes can be queued now, if need be after sending queued replies.
    func hasRoom(for count: Int) -> Bool {
        if stream.replies.reserve(count, spare: headersOwed) != nil { return true }
        flushReplies()
        return !isHungUp && stream.replies.isEmpty
    }

    func flushAtBatchEnd() {
        guard !awaitsBatchEnd else { return }
        awaitsBatchEnd = true
        loop.atBatchEnd(self)
    }

    func flushReplies() {
        guard stream.flush() else { return hangUp(.lost) }
        closeIfIdle()
    }

    /// Continues after a send that has ended.
    /// - Parameter isBroken: whether the connection is broken, so that the queued replies will never be sent.
    func sent(isBroken: Bool) {
        guard !isBroken else { return hangUp(.lost) }
        if stream.isSending { closeIfIdle() } else { proceed() }
    }
}
