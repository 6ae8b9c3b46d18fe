import Block
import NBD

/// Requests: from the header in the input to the device.
extension Session {
    /// Takes a request off the input, unless it lacks room for its work or its reply.
    /// - Returns: whether it was taken.
    func begin(_ request: Request) -> Bool {
        guard slots!.hasFree, hasRoom(for: Reply.maximumHeader) else { return false }
        requestBegan = owner.lastTime
        let verdict = request.verdict(under: terms)
        expectsLargePayload = request.command == .write && request.length > ServerLimits.inlinePayload
        guard verdict == .none else {
            input.drop(negotiation.style.requestHeaderLength)
            refuse(request, verdict)
            return true
        }
        if request.length > ServerLimits.longestWhole, request.carriesData {
            guard slots!.inFlight == 0 else { return false }
            input.drop(negotiation.style.requestHeaderLength)
            beginLarge(request, inPiecesOf: ServerLimits.piece)
            return true
        }
        guard isWithinLimit(request), !yieldTurn() else { return false }
        if request.command == .write, writeAtOnce(request) { return true }
        input.drop(negotiation.style.requestHeaderLength)
        start(request)
        return true
    }

    /// Lets other sessions of the loop run if this one has kept it busy for long enough.
    private func yieldTurn() -> Bool {
        guard turnBytes >= ServerLimits.turn else { return false }
        awaitsTurn = true
        loop.atNextTurn(self)
        return true
    }

    /// Writes from the input to the disk, if the whole payload is there and the write needs no waiting.
    private func writeAtOnce(_ request: Request) -> Bool {
        let header = negotiation.style.requestHeaderLength
        let count = Int(request.length)
        guard count > 0, input.count >= header + count, !slots!.mustBeDurable(request),
            let error = fastPort!._withUnsafeGuaranteedRef({
                $0.writeAtOnce(from: input.bytes + header, length: count, at: request.offset)
            })
        else { return false }
        input.drop(header + count)
        turnBytes += count
        if error != 0 { recordFailedWrite(error, offset: request.offset, length: request.length) }
        queueReply(ErrorCode(errno: error), cookie: request.cookie, offset: request.offset)
        countEnded(.write, request.length, hasFailed: error != 0)
        return true
    }

    /// Refuses a request. `begin` has checked that its reply has room, and requests in flight have theirs.
    private func refuse(_ request: Request, _ verdict: ErrorCode) {
        countRefused(request)
        // A payload longer than `Int.max` could never be skipped.
        guard let count = Int(exactly: request.payloadLength) else { return hangUp(.malformed) }
        guard count == 0 else {
            reading = .refusedPayload(request, verdict, left: count)
            return
        }
        queueReply(verdict, cookie: request.cookie, offset: request.offset)
    }

    /// Whether the connection may hold the request's buffer too; sending replies and ending requests makes room.
    private func isWithinLimit(_ request: Request) -> Bool {
        if request.command == .read, stream.replies.bufferBytes >= ServerLimits.unsent { return false }
        let held = buffers.bytes + stream.replies.bufferBytes
        return held == 0 || held + bufferLength(of: request) <= ServerLimits.buffersPerConnection
    }

    private func start(_ request: Request) {
        switch request.command {
        case .disconnect, nil:
            visit.noteEnd(.disconnected)
            reading = .nothing
        case .read where request.length > 0:
            // Flushing for room may have shown that the client is gone.
            if !readFromCache(request), !isHungUp, !startRead(request) { waitForBuffer(request) }
        case .write where request.length > 0:
            if !startWrite(request) { waitForBuffer(request) }
        case .blockStatus:
            if !startStatus(request) { waitForBuffer(request) }
        case .flush:
            submit(request)
        case .read, .write, .trim, .cache, .writeZeroes:
            guard request.length == 0 else { return submit(request) }
            queueReply(.none, cookie: request.cookie, offset: request.offset)
            countEnded(RequestSlots.kind(of: request), 0, hasFailed: false)
        }
    }

    private func submit(_ request: Request) {
        let slot = slots!.acquire(for: request)
        slot.pointee.startedAt = requestBegan
        submit(slot)
    }

    private func submit(_ slot: UnsafeMutablePointer<BlockRequest>) {
        fastPort!._withUnsafeGuaranteedRef { $0.submit(slot) }
    }

    /// Reads a small range from the page cache directly into the queue of replies.
    /// - Returns: false if that is not possible.
    private func readFromCache(_ request: Request) -> Bool {
        let length = Int(request.length)
        guard length <= ServerLimits.smallRead else { return false }
        let header = negotiation.style.dataHeaderLength
        guard hasRoom(for: header + length), let room = stream.replies.reserve(header + length, spare: headersOwed),
            fastPort!._withUnsafeGuaranteedRef({
                $0.readIfCached(into: room + header, length: length, at: request.offset)
            }) == length
        else { return false }
        Reply.storeData(negotiation.style, cookie: request.cookie, offset: request.offset, count: length, to: room)
        stream.replies.commit(header + length)
        turnBytes += length
        countEnded(.read, request.length, hasFailed: false)
        flushAtBatchEnd()
        return true
    }

    /// - Returns: false if there is no buffer now.
    private func startRead(_ request: Request) -> Bool {
        guard let (buffer, share) = allocateBuffer(bufferLength(of: request)) else { return false }
        reading = .header
        let slot = slots!.acquire(for: request)
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        slot.pointee.startedAt = requestBegan
        slot.pointee.readAlready = fastPort!._withUnsafeGuaranteedRef {
            $0.readIfCached(into: buffer, length: Int(request.length), at: request.offset)
        }
        if slot.pointee.readAlready == Int(request.length) {
            turnBytes += Int(request.length)
            answer(slot)
        } else {
            submit(slot)
        }
        return true
    }

    /// - Returns: false if there is no buffer now.
    private func startWrite(_ request: Request) -> Bool {
        guard let (buffer, share) = allocateBuffer(bufferLength(of: request)) else { return false }
        let slot = slots!.acquire(for: request)
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        reading = .payload(slot, received: 0)
        return true
    }

    /// - Returns: false if there is no buffer now.
    private func startStatus(_ request: Request) -> Bool {
        guard let (buffer, share) = allocateBuffer(bufferLength(of: request)) else { return false }
        reading = .header
        let slot = slots!.acquire(for: request)
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        slot.pointee.startedAt = requestBegan
        slot.pointee.extentLimit = Self.extentLimit(of: request)
        submit(slot)
        return true
    }

    /// Continues a write of which `received` bytes of payload have come.
    func payloadReceived(_ request: UnsafeMutablePointer<BlockRequest>, _ received: Int) {
        guard received == Int(request.pointee.length) else {
            reading = .payload(request, received: received)
            return
        }
        if let large, large.slot == request { return piecePayloadReceived(large) }
        reading = .header
        // The time in which the client sent the payload is not the server's.
        request.pointee.startedAt = owner.lastTime
        guard !request.pointee.isForcedUnitAccess,
            let error = fastPort!._withUnsafeGuaranteedRef({
                $0.writeAtOnce(from: request.pointee.buffer!, length: received, at: request.pointee.offset)
            })
        else { return submit(request) }
        turnBytes += received
        if error != 0 {
            recordFailedWrite(error, offset: request.pointee.offset, length: request.pointee.length)
        }
        queueReply(ErrorCode(errno: error), cookie: request.pointee.cookie, offset: request.pointee.offset)
        countEnded(request, hasFailed: error != 0)
        releaseRequest(request)
    }

    // MARK: Buffers

    /// Bytes of the buffer that a request needs.
    private func bufferLength(of request: Request) -> Int {
        switch request.command {
        case .read, .write: Int(request.length)
        case .blockStatus: statusReply!.bufferLength(extents: Self.extentLimit(of: request))
        default: 0
        }
    }

    /// Bytes of the buffer of the request in a slot, as it was allocated.
    func bufferLength(of slot: UnsafeMutablePointer<BlockRequest>) -> Int {
        slot.pointee.kind.carriesData
            ? Int(slot.pointee.length) : statusReply!.bufferLength(extents: slot.pointee.extentLimit)
    }

    private static func extentLimit(of request: Request) -> Int {
        request.flags.contains(.requestOne) ? 1 : ServerLimits.extentsPerReply
    }

    /// - Returns: nil if there is no buffer now.
    func allocateBuffer(_ count: Int) -> (buffer: UnsafeMutableRawPointer, share: Int)? {
        buffers.allocate(count, unsent: stream.replies.bufferBytes)
    }

    private func waitForBuffer(_ request: Request) {
        reading = .waitingForBuffer(request)
        waitForBuffer(of: bufferLength(of: request))
    }

    func waitForBuffer(of count: Int) {
        buffers.wait(self, for: count, unsent: stream.replies.bufferBytes)
        owner.watchForStalls()
    }

    /// Changes to another line if the connection may now use an earlier share. After a long wait, the request continues in
    /// small pieces.
    func reconsiderLine() {
        guard !isStopping else { return }
        if let large, large.stage == .waiting {
            if buffers.hasWaitedLong, large.makePiecesSmall() { buffers.leaveLine(self) }
            return
        }
        guard let line = buffers.line, case .waitingForBuffer(let request) = reading else { return }
        if buffers.share(for: bufferLength(of: request), unsent: stream.replies.bufferBytes) < line {
            buffers.leaveLine(self)
            if !startWaiting(request) { waitForBuffer(request) }
        } else if buffers.hasWaitedLong, slots!.inFlight == 0, request.carriesData, request.length > BufferShare.some {
            buffers.leaveLine(self)
            beginLarge(request, inPiecesOf: LargeTransfer.smallPiece)
        }
    }

    /// Starts a request that waits for a buffer.
    /// - Returns: false if there is still no buffer.
    func startWaiting(_ request: Request) -> Bool {
        switch request.command {
        case .write: startWrite(request)
        case .blockStatus: startStatus(request)
        default: startRead(request)
        }
    }

    /// Frees the slot of a request, and its buffer if it still has one.
    func releaseRequest(_ slot: UnsafeMutablePointer<BlockRequest>) {
        let buffer = slot.pointee.buffer
        slot.pointee.buffer = nil
        slots!.release(slot)
        guard let buffer else { return }
        buffers.free(buffer, bufferLength(of: slot), share: slot.pointee.bufferShare)
    }
}
