import Block
import NBD

/// Requests that are served piece by piece (`LargeTransfer`).
extension Session {
    /// Begins a large request whose header is off the input. It runs alone: no other reply may come between its pieces or
    /// use the room of its header.
    func beginLarge(_ request: Request, inPiecesOf piece: Int) {
        let large = large ?? LargeTransfer(session: self, port: port!)
        self.large = large
        large.begin(request, isDurable: slots!.mustBeDurable(request), piece: piece)
        large.slot.pointee.startedAt = requestBegan
        // `closeIfIdle` begins the first piece.
        reading = .large
    }

    /// Whether the next piece may have a buffer. A write without further payload ends; a read is still answered.
    func mayContinue(_ large: LargeTransfer) -> Bool {
        large.stage == .waiting && !isHungUp && !(isStopping && large.isWrite)
    }

    /// Begins the next piece if it is its time and there is room for it.
    func beginPiece(of large: LargeTransfer) {
        guard large.stage == .waiting else { return }
        guard mayContinue(large) else { return end(large) }
        let unsent = stream.replies.bufferBytes
        guard buffers.line == nil, unsent < ServerLimits.unsent,
            buffers.bytes + unsent + large.nextLength <= large.mostHeld
        else { return }
        guard let (buffer, share) = allocateBuffer(large.nextLength) else {
            return waitForBuffer(of: large.nextLength)
        }
        start(large, with: buffer, share: share)
    }

    /// Starts the next piece in a buffer of `nextLength` bytes.
    func start(_ large: LargeTransfer, with buffer: UnsafeMutableRawPointer, share: Int) {
        large.prepare(buffer, share: share)
        guard large.isWrite else { return large.submit() }
        reading = .payload(large.slot, received: 0)
        proceed()
    }

    /// Continues a write when the payload of a piece is complete.
    func piecePayloadReceived(_ large: LargeTransfer) {
        reading = .large
        if large.error == .none { large.submit() } else { pieceEnded(large) }
    }

    /// Continues when a piece has been read or written, or its payload dropped.
    func pieceEnded(_ large: LargeTransfer) {
        if large.slot.pointee.error != 0 { recordFailure(large.slot) }
        let isFirst = large.done == 0
        if large.isSending, large.slot.pointee.error == 0, !isHungUp { send(large, isFirst: isFirst) }
        let canAnswer = !large.isSending || isFirst
        releasePiece(large)
        large.advance()
        if large.isOver {
            let (request, error) = (large.request!, large.error)
            countEnded(
                large.slot.pointee.kind, request.length, hasFailed: error != .none,
                since: large.slot.pointee.startedAt)
            end(large)
            if !canAnswer && error != .none {
                // The reply has begun, so only the end of the connection can report the error.
                hangUp(.failedReply)
            } else if request.command == .write || error != .none {
                queueReply(error, cookie: request.cookie, offset: request.offset)
            }
        }
        proceed()
    }

    /// Queues a piece of a read; the first one behind the header of the whole reply.
    private func send(_ large: LargeTransfer, isFirst: Bool) {
        if isFirst {
            queueDataHeader(
                cookie: large.slot.pointee.cookie, offset: large.request!.offset, count: Int(large.request!.length))
        }
        queueBuffer(of: large.slot, count: Int(large.slot.pointee.length))
    }

    private func releasePiece(_ large: LargeTransfer) {
        guard let buffer = large.slot.pointee.buffer else { return }
        large.slot.pointee.buffer = nil
        buffers.free(buffer, Int(large.slot.pointee.length), share: large.slot.pointee.bufferShare)
    }

    func end(_ large: LargeTransfer) {
        releasePiece(large)
        large.end()
        reading = isStopping ? .nothing : .header
    }
}
