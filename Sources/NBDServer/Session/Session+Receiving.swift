import Block
import Glibc
import NBD
import Ring

/// Receiving bytes and parsing them into steps of the handshake, requests and payloads.
extension Session {
    /// Continues after a receive.
    /// - Parameter result: bytes, 0 at the end of the stream, or a negated `errno`.
    func received(_ result: Int32) {
        noteTime()
        process(result)
        proceed()
    }

    /// Continues after a receive into one of the loop's buffers.
    func received(_ count: Int32, inBuffer number: Int) {
        noteTime()
        if isStopping || count <= 0 {
            loop.receiveBuffers.give(number)
            process(count)
        } else {
            input.borrow(number, count: Int(count))
        }
        proceed()
    }

    /// Continues after encrypted bytes have come; reading them decrypts them.
    func receivedEncrypted() {
        noteTime()
        if isStopping { stopReading() }
        proceed()
    }

    private func process(_ result: Int32) {
        // ENOBUFS: all of the loop's buffers were in use.
        if result == -EINTR || result == -EAGAIN || result == -ENOBUFS { return }
        guard !isStopping else { return stopReading() }
        // A broken connection carries no replies, either.
        guard result >= 0 else { return hangUp(result == -EPROTO ? .malformed : .lost) }
        guard result > 0 else { return endInput() }
        // A receive into `input` may have begun before the last request in it became a write.
        if isReceivingPayload, case .payload(let request, let received) = reading {
            payloadReceived(request, received + Int(result))
        } else {
            input.didReceive(Int(result))
        }
    }

    /// Expects no more bytes. The requests that have come are still served.
    private func endInput() {
        visit.noteEnd(.closed)
        isAtEnd = true
        if stream.isDead { limitStatus(to: .nothing) }
        if case .payload = reading { stopReading() }
    }

    /// Parses the input and receives more.
    func proceed() {
        if buffers.line != nil { reconsiderLine() }
        repeat {
            while parseOne() {}
            input.keepRest()
        } while receiveMore()
        closeIfIdle()
    }

    /// Begins a receive if the session needs bytes.
    /// - Returns: whether bytes came at once.
    private func receiveMore() -> Bool {
        guard !stream.isReceiving, !isStopping, !awaitsTurn else { return false }
        guard !isAtEnd else {
            stopAtEnd()
            return false
        }
        if pendingMove != nil, isBetweenRequests, !stream.isSending {
            // The end of the batch is near; then the session moves, or receives again.
            flushAtBatchEnd()
            return false
        }
        let result: Int32?
        switch reading {
        case .nothing, .waitingForBuffer, .waitingForOthers, .examiningExport, .waitingForAdmission, .startingTLS,
            .large:
            return false
        case .handshake where !handshake.isQueued:
            return false
        case .payload(let request, let received):
            isReceivingPayload = true
            result = stream.receive(
                into: request.pointee.buffer! + received,
                count: min(ServerLimits.step, Int(request.pointee.length) - received), waitForAll: true)
        case .handshake, .header, .refusedPayload:
            isReceivingPayload = false
            input.prepare()
            if input.isEmpty && !stream.isSecure {
                stream.receiveSelected(
                    isAtHeader && expectsLargePayload ? negotiation.style.requestHeaderLength : ReceiveBuffers.length,
                    after: requestsTaken &- requestsBefore)
                requestsBefore = requestsTaken
                return false
            }
            // The input is full of requests that wait for slots or room; an event that frees one calls `proceed`.
            guard let room = input.room else { return false }
            result = stream.receive(into: room.baseAddress!, count: room.count, waitForAll: false)
        }
        guard let result else { return false }
        process(result)
        return true
    }

    var isAtHeader: Bool { if case .header = reading { true } else { false } }

    /// Stops at the end of the stream if the rest of the input lacks bytes, and not slots or room.
    private func stopAtEnd() {
        switch reading {
        case .waitingForBuffer, .waitingForOthers, .examiningExport, .waitingForAdmission, .startingTLS, .large: return
        case .payload: stopReading()
        default: if slots?.inFlight ?? 0 == 0, stream.hasSentAll, handshake.isQueued { stopReading() }
        }
    }

    /// Parses one item of the input.
    /// - Returns: whether there may be another.
    private func parseOne() -> Bool {
        let available = input.count
        guard !isStopping, !awaitsTurn else { return false }
        switch reading {
        case .handshake:
            return processHandshake()
        case .header:
            guard available >= negotiation.style.requestHeaderLength else { return false }
            guard let request = Request(header: input.bytes, style: negotiation.style) else {
                hangUp(.malformed)
                return false
            }
            guard begin(request) else { return false }
            requestsTaken &+= 1
            return true
        case .payload(let request, let received):
            guard available > 0 else { return false }
            let count = min(available, Int(request.pointee.length) - received)
            memcpy(request.pointee.buffer! + received, input.bytes, count)
            input.drop(count)
            payloadReceived(request, received + count)
            return true
        case .refusedPayload(let request, let verdict, let left):
            let count = min(available, left)
            input.drop(count)
            guard count == left else {
                reading = .refusedPayload(request, verdict, left: left - count)
                return false
            }
            reading = .header
            queueReply(verdict, cookie: request.cookie, offset: request.offset)
            return true
        case .startingTLS:
            guard stream.isIdle, !awaitsBatchEnd, let tls else { return false }
            stream.startTLS(tls.context)
            reading = .handshake
            return false
        case .waitingForBuffer, .waitingForOthers, .examiningExport, .waitingForAdmission, .large, .nothing:
            return false
        }
    }
}
