import Block
import CLinux
import Glibc
import NBD
import Ring

/// One client's connection, on one loop.
///
/// 1. `begin` sends the greeting; the handshake goes on until the client has chosen an export.
/// 2. Requests are read, judged, served and answered; many at once, answered in any order.
/// 3. It ends when the client disconnects or breaks the protocol, or when the server drains: requests in flight are
///    finished first, in every case, and only then is the memory released.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class Session: RequestOwner, @unchecked Sendable {
    /// What the next bytes from the client are.
    private enum Reading {
        case handshake
        /// The export has been chosen; connections that were given up are finished first.
        case waitingForOthers
        case header
        /// Of a write; `received` bytes are in the request's buffer.
        case payload(UnsafeMutablePointer<BlockRequest>, received: Int)
        /// Of a refused write.
        case refusedPayload(Int)
        /// Of a write that waits for a buffer.
        case waitingForBuffer(Request)
        /// Nothing more is read.
        case nothing
    }

    private let socket: CInt
    private unowned(unsafe) let owner: SessionLoop
    private unowned(unsafe) let loop: EventLoop
    private unowned(unsafe) let pool: BufferPool
    private let exports: ExportTable
    private let onClose: @Sendable () -> Void

    private var reading = Reading.handshake
    private var handshake = Handshake()
    private var handshakeInput: [UInt8] = []
    private var export: Export?
    private var description = ExportDescription(name: "", size: 0, isReadOnly: true)
    private var port: DiskPort?

    private let input: UnsafeMutableRawPointer
    private var inputStart = 0
    private var inputEnd = 0
    private var slots: RequestSlots?
    private var bytesInFlight = 0
    private var replies: ReplyQueue

    private let receiveOperation: UnsafeMutablePointer<RingOperation>
    private let sendOperation: UnsafeMutablePointer<RingOperation>
    private var isReceiving = false
    /// Where the receive in flight puts its bytes: a request's buffer, or `input`.
    private var isReceivingPayload = false
    private var isSending = false
    private var awaitsBatchEnd = false
    private var isWaitingInLine = false
    private var whenQuiet: [() -> Void] = []
    /// Whether the client has sent or taken something since the last `beginStallWatch`.
    private var hasMoved = false
    /// No more is read.
    private var isStopping = false
    /// No more is read or sent.
    private var isHungUp = false
    private var isClosed = false

    init(socket: CInt, owner: SessionLoop, exports: ExportTable, onClose: @escaping @Sendable () -> Void) {
        self.socket = socket
        self.owner = owner
        loop = owner.loop
        pool = owner.pool
        self.exports = exports
        self.onClose = onClose
        input = .allocate(byteCount: ServerLimits.input, alignment: 16)
        replies = ReplyQueue(regions: owner.replyRegions, pool: owner.pool)
        receiveOperation = .allocate(capacity: 1)
        sendOperation = .allocate(capacity: 1)
        super.init()
        receiveOperation.initialize(to: RingOperation(handler: self))
        sendOperation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        input.deallocate()
        receiveOperation.deallocate()
        sendOperation.deallocate()
    }

    func begin() {
        queue(handshake.greeting)
        receiveMore()
    }

    /// Takes no further request; ends when those it has are answered.
    /// - Parameter whenQuiet: called once none of them is in flight any more, answered or not.
    func drain(whenQuiet: @escaping () -> Void) {
        // A closed socket's number may be another client's by now.
        guard !isClosed else { return whenQuiet() }
        self.whenQuiet.append(whenQuiet)
        stopReading()
        // Wakes the receive that is in flight; replies still go out.
        shutdown(socket, CInt(SHUT_RD))
        closeIfIdle()
    }

    /// From now on it is noted whether the client sends or takes something.
    func beginStallWatch() {
        hasMoved = false
    }

    /// Whether it is the client's fault that buffers have been held since `beginStallWatch`.
    var hasStalled: Bool {
        guard !hasMoved else { return false }
        if isReceivingPayload && isReceiving { return true }
        return isSending && replies.bufferBytes > 0
    }

    /// Whether the client has said or shown that it will ask for nothing more of `export` here.
    func isGivenUp(on export: Export) -> Bool {
        guard self.export === export else { return false }
        if case .nothing = reading { return true }
        return isStopping || linux_peer_has_closed(socket) == 1
    }

    /// Gives the client up: nothing more is read or sent.
    func hangUp() {
        guard !isHungUp, !isClosed else { return }
        isHungUp = true
        stopReading()
        shutdown(socket, CInt(SHUT_RDWR))
        if !isSending { replies.discard() }
        closeIfIdle()
    }

    // MARK: Events

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result > 0 { hasMoved = true }
        if operation == receiveOperation {
            isReceiving = false
            received(result)
        } else {
            isSending = false
            sent(result)
        }
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        answer(request)
        // A free slot may be what the next request was waiting for.
        proceed()
    }

    override func batchEnded() {
        awaitsBatchEnd = false
        flushReplies()
        // What went out may be what the next request was waiting for.
        if !isSending { proceed() }
    }

    override func bufferMayBeAvailable() -> Bool {
        guard case .waitingForBuffer(let request) = reading else {
            isWaitingInLine = false
            return true
        }
        guard request.command == .write ? startWrite(request) : startRead(request) else { return false }
        isWaitingInLine = false
        proceed()
        return true
    }

    /// Reads no more. A payload that is being received keeps its buffer until the kernel lets go of it.
    private func stopReading() {
        isStopping = true
        guard !isReceiving else { return }
        if case .payload(let request, _) = reading { releaseRequest(request) }
        reading = .nothing
    }

    // MARK: Receiving

    private func received(_ result: Int32) {
        if result == -EINTR || result == -EAGAIN { return receiveMore() }
        guard result > 0, !isStopping else {
            // The client has gone, or is being let go; what it has asked for so far is still finished.
            stopReading()
            return closeIfIdle()
        }
        // A receive into `input` may have begun before its last request became a write.
        if isReceivingPayload, case .payload(let request, let received) = reading {
            takePayload(request, received + Int(result))
        } else {
            inputEnd += Int(result)
        }
        proceed()
    }

    /// Parses what is at hand, then asks for more.
    private func proceed() {
        while parseOne() {}
        receiveMore()
        closeIfIdle()
    }

    private func receiveMore() {
        guard !isReceiving, !isStopping else { return }
        switch reading {
        case .nothing, .waitingForBuffer, .waitingForOthers:
            return
        case .payload(let request, let received):
            isReceiving = true
            isReceivingPayload = true
            loop.receive(
                socket, into: request.pointee.buffer! + received,
                count: min(ServerLimits.step, Int(request.pointee.length) - received),
                waitForAll: true, receiveOperation)
        case .handshake, .header, .refusedPayload:
            makeRoomForInput()
            // Full of requests that wait for slots or for replies to go out: whoever frees those proceeds.
            guard inputEnd < ServerLimits.input else { return }
            isReceiving = true
            isReceivingPayload = false
            loop.receive(socket, into: input + inputEnd, count: ServerLimits.input - inputEnd, receiveOperation)
        }
    }

    private func makeRoomForInput() {
        guard inputStart > 0 else { return }
        memmove(input, input + inputStart, inputEnd - inputStart)
        inputEnd -= inputStart
        inputStart = 0
    }

    /// Whether something was taken off the input, so that there may be more.
    private func parseOne() -> Bool {
        let available = inputEnd - inputStart
        guard !isStopping else { return false }
        switch reading {
        case .handshake:
            return available > 0 && takeHandshake()
        case .header:
            guard available >= Wire.requestHeaderLength else { return false }
            guard let request = Request(header: input + inputStart) else {
                hangUp()
                return false
            }
            return begin(request)
        case .payload(let request, let received):
            guard available > 0 else { return false }
            let count = min(available, Int(request.pointee.length) - received)
            memcpy(request.pointee.buffer! + received, input + inputStart, count)
            inputStart += count
            takePayload(request, received + count)
            return true
        case .refusedPayload(let left):
            let count = min(available, left)
            inputStart += count
            reading = count == left ? .header : .refusedPayload(left - count)
            return count == left
        case .waitingForBuffer, .waitingForOthers, .nothing:
            return false
        }
    }

    private func takeHandshake() -> Bool {
        handshakeInput += UnsafeRawBufferPointer(start: input + inputStart, count: inputEnd - inputStart)
        inputStart = 0
        inputEnd = 0
        var rest = handshakeInput[...]
        var output: [UInt8] = []
        let progress = handshake.receive(&rest, output: &output, catalog: exports)
        handshakeInput = Array(rest)
        queue(output)
        guard !isHungUp else { return false }
        switch progress {
        case .needsMore:
            return false
        case .close:
            reading = .nothing
            return false
        case .transmission(let description):
            beginTransmission(description)
            return true
        }
    }

    private func beginTransmission(_ description: ExportDescription) {
        guard let export = exports.find(description.name) else { return hangUp() }
        self.export = export
        self.description = description
        let port = export.disk.port(on: loop)
        self.port = port
        slots = RequestSlots(count: ServerLimits.requestsPerConnection, owner: self, port: port)
        reading = .waitingForOthers
        owner.finishGivenUp(on: export) { [self] in
            guard case .waitingForOthers = reading else { return }
            reading = .header
            proceed()
        }
        // Requests that came right behind the handshake; never more than one receive brought.
        precondition(handshakeInput.count <= ServerLimits.input)
        handshakeInput.withUnsafeBytes { if !$0.isEmpty { memcpy(input, $0.baseAddress!, $0.count) } }
        inputEnd = handshakeInput.count
        handshakeInput = []
    }

    // MARK: Requests

    /// Takes a request off the input, unless there is no room yet to work on it or to answer it.
    private func begin(_ request: Request) -> Bool {
        guard slots!.hasFree, hasRoom(for: Wire.simpleReplyLength), isWithinShare(request) else { return false }
        let verdict = request.verdict(for: description)
        inputStart += Wire.requestHeaderLength
        guard verdict == .none else {
            reply(verdict, to: request.cookie)
            if request.payloadLength > 0 { reading = .refusedPayload(request.payloadLength) }
            return true
        }
        start(request)
        return true
    }

    /// Whether this connection may take the buffer that a request needs; sending and finishing others makes room.
    private func isWithinShare(_ request: Request) -> Bool {
        let held = bytesInFlight + replies.bufferBytes
        return held == 0 || held + Int(request.length) <= ServerLimits.buffersPerConnection || !request.needsBuffer
    }

    private func start(_ request: Request) {
        switch request.command {
        case .disconnect, nil:
            reading = .nothing
        case .read where request.length > 0:
            // Making room for the reply may have shown that the client is gone.
            if !readFromCache(request), !isHungUp, !startRead(request) { waitForBuffer(request) }
        case .write where request.length > 0:
            if !startWrite(request) { waitForBuffer(request) }
        case .read, .write:
            reply(.none, to: request.cookie)
        case .trim where request.length == 0, .writeZeroes where request.length == 0:
            reply(.none, to: request.cookie)
        case .flush, .trim, .writeZeroes:
            port!.submit(slots!.take(request))
        }
    }

    /// A small read whose bytes are at hand goes straight between the replies.
    private func readFromCache(_ request: Request) -> Bool {
        let count = Int(request.length)
        guard count <= ServerLimits.smallRead else { return false }
        let total = Wire.simpleReplyLength + count
        guard hasRoom(for: total), let room = replies.reserve(total, spare: headersOwed),
            port!.readIfCached(into: room + Wire.simpleReplyLength, length: count, at: request.offset)
        else { return false }
        SimpleReply.store(error: .none, cookie: request.cookie, to: room)
        replies.commit(total)
        flushAtBatchEnd()
        return true
    }

    /// - Returns: false where no buffer is to be had now.
    private func startRead(_ request: Request) -> Bool {
        guard let buffer = takeBuffer(request) else { return false }
        reading = .header
        let slot = slots!.take(request)
        slot.pointee.buffer = buffer
        if port!.readIfCached(into: buffer, length: Int(request.length), at: request.offset) {
            answer(slot)
        } else {
            port!.submit(slot)
        }
        return true
    }

    /// - Returns: false where no buffer is to be had now.
    private func startWrite(_ request: Request) -> Bool {
        guard let buffer = takeBuffer(request) else { return false }
        let slot = slots!.take(request)
        slot.pointee.buffer = buffer
        reading = .payload(slot, received: 0)
        return true
    }

    private func takeBuffer(_ request: Request) -> UnsafeMutableRawPointer? {
        let count = Int(request.length)
        guard let buffer = isWaitingInLine ? pool.takeAhead(count) : pool.take(count) else { return nil }
        bytesInFlight += count
        return buffer
    }

    private func waitForBuffer(_ request: Request) {
        reading = .waitingForBuffer(request)
        isWaitingInLine = true
        pool.whenAvailable(self)
        owner.watchForStalls()
    }

    private func takePayload(_ request: UnsafeMutablePointer<BlockRequest>, _ received: Int) {
        guard received == Int(request.pointee.length) else {
            reading = .payload(request, received: received)
            return
        }
        reading = .header
        port!.submit(request)
    }

    // MARK: Replies

    /// Queues the reply to a request that has ended and frees its slot.
    private func answer(_ request: UnsafeMutablePointer<BlockRequest>) {
        let error = ErrorCode(errno: request.pointee.error)
        reply(error, to: request.pointee.cookie)
        if !isHungUp, request.pointee.kind == .read, error == .none, let buffer = request.pointee.buffer {
            let count = Int(request.pointee.length)
            request.pointee.buffer = nil
            bytesInFlight -= count
            replies.append(buffer, count: count, bufferCount: count)
        }
        releaseRequest(request)
    }

    private func reply(_ error: ErrorCode, to cookie: UInt64) {
        guard !isHungUp else { return }
        guard let room = replies.reserve(Wire.simpleReplyLength, spare: 0) else {
            preconditionFailure("no request begins without room for its reply")
        }
        SimpleReply.store(error: error, cookie: cookie, to: room)
        replies.commit(Wire.simpleReplyLength)
        flushAtBatchEnd()
    }

    /// Bytes of the headers that requests in flight will need.
    private var headersOwed: Int { slots!.inFlight * Wire.simpleReplyLength }

    /// Whether `count` bytes can be queued now, after sending what waits if need be.
    private func hasRoom(for count: Int) -> Bool {
        if replies.reserve(count, spare: headersOwed) != nil { return true }
        flushReplies()
        return !isHungUp && replies.isEmpty
    }

    private func releaseRequest(_ request: UnsafeMutablePointer<BlockRequest>) {
        let buffer = request.pointee.buffer
        request.pointee.buffer = nil
        slots!.give(request)
        guard let buffer else { return }
        bytesInFlight -= Int(request.pointee.length)
        pool.give(buffer, Int(request.pointee.length))
    }

    /// Queues what the handshake says. A client that asks for more than fits before it reads is let go.
    private func queue(_ bytes: [UInt8]) {
        guard !bytes.isEmpty, !isHungUp else { return }
        guard let room = replies.reserve(bytes.count, spare: 0) else { return hangUp() }
        bytes.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        replies.commit(bytes.count)
        flushAtBatchEnd()
    }

    private func flushAtBatchEnd() {
        guard !awaitsBatchEnd else { return }
        awaitsBatchEnd = true
        loop.atBatchEnd(self)
    }

    private func flushReplies() {
        guard !isSending, !isHungUp else { return closeIfIdle() }
        guard replies.sendNow(socket) == 0 else { return hangUp() }
        if let part = replies.firstPart {
            isSending = true
            loop.send(socket, from: part.base, count: min(ServerLimits.step, part.count), sendOperation)
        }
        closeIfIdle()
    }

    private func sent(_ result: Int32) {
        if isHungUp {
            replies.discard()
            return closeIfIdle()
        }
        guard result > 0 || result == -EINTR || result == -EAGAIN else { return hangUp() }
        if result > 0 { replies.didSend(Int(result)) }
        flushReplies()
        if !isSending { proceed() }
    }

    // MARK: The end

    private func reportIfQuiet() {
        guard !whenQuiet.isEmpty, !isReceiving, slots?.inFlight ?? 0 == 0 else { return }
        let reports = whenQuiet
        whenQuiet = []
        for report in reports { report() }
    }

    /// Releases everything once nothing refers to the session any more.
    private func closeIfIdle() {
        reportIfQuiet()
        guard case .nothing = reading, replies.isEmpty, !isSending, !awaitsBatchEnd, slots?.inFlight ?? 0 == 0
        else { return }
        guard !isReceiving else {
            // Its completion closes.
            shutdown(socket, CInt(SHUT_RDWR))
            return
        }
        guard !isClosed else { return }
        isClosed = true
        if isWaitingInLine { pool.forget(self) }
        close(socket)
        onClose()
        owner.didClose(self)
    }
}
