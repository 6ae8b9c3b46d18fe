import Block
import NBD
import Ring

/// One client's connection, on one loop at a time.
///
/// 1. `begin` sends the greeting; the handshake continues until the client has chosen an export.
/// 2. Requests are read, validated, served and answered; many at once, in any order.
/// 3. It ends when the client disconnects or breaks the protocol, or when the server drains. Requests in flight always
///    end first; only then is the memory released.
///
/// This file has its lifetime; `Session+Receiving`, `+Handshake`, `+Requests`, `+LargeRequests` and `+Replies` have the
/// steps in the order of the data.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class Session: RequestOwner, @unchecked Sendable {
    private(set) unowned(unsafe) var owner: SessionLoop
    private(set) unowned(unsafe) var loop: EventLoop
    let exports: SessionExports
    let tls: ServerTLS?
    private let onClose: @Sendable () -> Void
    let visit: ClientVisit

    let stream: ClientStream
    private(set) var input: SessionInput
    var buffers: SessionBuffers
    var reading = SessionReading.handshake
    /// Whether the receive in flight fills a request's buffer, and not `input`.
    var isReceivingPayload = false
    /// Whether the last request was a write whose payload was received into a buffer of its own. The next one is probably
    /// like it: only its header is received first, so that no payload needs to be copied.
    var expectsLargePayload = false
    /// Whether no more bytes will come; those that have come are still processed.
    var isAtEnd = false

    var handshake: SessionHandshake
    /// The export that the client has chosen; nil during the handshake, as are `port`, `statusReply`, `owedFlush` and
    /// `slots`.
    var export: Export?
    var negotiation = Negotiation(export: ExportDescription(name: "", size: 0, isReadOnly: true)) {
        didSet { terms = negotiation.terms }
    }
    /// Those of `negotiation`, which a request can read without counting references.
    private(set) var terms = Negotiation(export: ExportDescription(name: "", size: 0, isReadOnly: true)).terms
    var port: DiskPort? {
        didSet { fastPort = port.map { .passUnretained($0) } }
    }
    /// The same as `port`, for calls that cost no reference count.
    private(set) var fastPort: Unmanaged<DiskPort>?
    var statusReply: StatusReply?
    var owedFlush: OwedFlush?
    var slots: RequestSlots?
    /// The large request; nil until there is a first one.
    var large: LargeTransfer?

    /// Counts the export's requests on this loop; nil while nothing is measured.
    var tally: RequestTally?
    /// The time at which the request that is being begun was complete, in nanoseconds; only while requests are counted.
    var requestBegan: UInt64 = 0

    /// The move that the session should make; nil if it stays.
    var pendingMove: SessionMove?
    /// The work that `consumeWork` has told about.
    var toldWork = SessionWork()

    /// Requests that were taken off the input, as a number that only grows until it wraps.
    var requestsTaken = 0
    /// `requestsTaken` at the last receive into one of the loop's buffers.
    var requestsBefore = 0

    /// Bytes read or written at once since other sessions last ran.
    var turnBytes = 0
    var awaitsTurn = false
    var awaitsBatchEnd = false

    private var whenQuiet: [() -> Void] = []
    /// Whether nothing more is read.
    private(set) var isStopping = false
    /// Whether nothing more is read or sent.
    private(set) var isHungUp = false
    private var isClosed = false

    init(
        socket: CInt, owner: SessionLoop, exports: ExportTable, tls: ServerTLS?, visit: ClientVisit,
        onClose: @escaping @Sendable () -> Void
    ) {
        self.visit = visit
        self.owner = owner
        loop = owner.loop
        buffers = SessionBuffers(pool: owner.pool)
        self.exports = SessionExports(exports, for: visit.client)
        self.tls = tls
        handshake = SessionHandshake(exports: self.exports, policy: tls?.policy ?? .off)
        self.onClose = onClose
        input = SessionInput(buffers: owner.loop.receiveBuffers)
        stream = ClientStream(socket: socket, owner: owner)
        super.init()
        stream.session = self
    }

    func begin() {
        queueHandshakeOutput()
        proceed()
    }

    /// Reads no further request, and ends the session when those it has are answered.
    /// - Parameter whenQuiet: called when none of them is in flight any more, answered or not.
    func drain(whenQuiet: @escaping () -> Void) {
        // The number of a closed socket may belong to another client by now.
        guard !isClosed else { return whenQuiet() }
        self.whenQuiet.append(whenQuiet)
        stopReading()
        visit.noteEnd(.drained)
        // This ends the receive in flight; replies are still sent.
        stream.endReceiving()
        limitStatus(to: stream.isDead ? .nothing : .least)
        closeIfIdle()
    }

    /// Disconnects the client: nothing more is read or sent.
    /// - Parameter end: the reason, unless an earlier one is known.
    func hangUp(_ end: ClientEnd = .lost) {
        guard !isHungUp, !isClosed else { return }
        visit.noteEnd(end)
        isHungUp = true
        limitStatus(to: .nothing)
        stopReading()
        stream.hangUp()
        closeIfIdle()
    }

    /// Stops reading. A payload that is being received keeps its buffer until the kernel has finished with it.
    func stopReading() {
        isStopping = true
        guard !stream.isReceiving else { return }
        if case .payload(let request, _) = reading {
            if let large, large.slot == request { end(large) } else { releaseRequest(request) }
        }
        reading = .nothing
    }

    // MARK: Clients that make no progress

    /// Whether the client has not chosen an export yet.
    var isNegotiating: Bool {
        switch reading {
        case .handshake, .examiningExport, .startingTLS, .waitingForAdmission: true
        default: false
        }
    }

    /// Disconnects a client that makes no progress in its handshake; called every `ServerLimits.handshake` seconds.
    func checkHandshakePace() {
        if handshake.hasStalled() { hangUp(.stalled) }
    }

    /// Begins to count the bytes that move, for `hasStalled`, and to measure the session's wait.
    func beginStallWatch() {
        stream.beginWatch()
        buffers.beginWatch()
    }

    /// Continues, in small pieces, a request that has waited for a buffer since `beginStallWatch`. Slow clients may
    /// otherwise keep the buffers that it needs for as long as they like.
    func endLongWait() {
        if buffers.markLongWait() { proceed() }
    }

    /// Whether the client has held awaited buffers since `beginStallWatch` by not sending or not reading.
    var hasStalled: Bool {
        guard stream.moved < ServerLimits.leastMoved else { return false }
        // With TLS, receiving a payload may have to wait until the client reads.
        if case .payload(let request, _) = reading, stream.isReceiving || stream.isSending,
            buffers.isAwaited(request.pointee.bufferShare)
        {
            return true
        }
        return stream.isSending && stream.replies.holdsAwaitedBuffer
    }

    /// Whether the client will send no more requests for the disk of `export` here, as far as is known.
    func isGivenUp(on export: Export) -> Bool {
        guard self.export?.disk === export.disk else { return false }
        if case .nothing = reading { return true }
        return isStopping || stream.isClosedByClient
    }

    // MARK: Events

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        answer(request)
        // The next request may wait for the slot that is free now.
        proceed()
    }

    override func batchEnded() {
        awaitsBatchEnd = false
        flushReplies()
        let wasMarked = pendingMove != nil
        guard !moveIfQuiet() else { return }
        // The next request may wait for the room of replies that are sent now, and a marked session receives nothing before.
        if !stream.isSending || wasMarked { proceed() }
    }

    override func turnCame() {
        awaitsTurn = false
        turnBytes = 0
        proceed()
    }

    override func bufferMayBeAvailable() -> Bool {
        if let large, mayContinue(large), !stream.isDead {
            guard let (buffer, share) = allocateBuffer(large.nextLength) else { return false }
            buffers.didLeaveLine()
            start(large, with: buffer, share: share)
            proceed()
            return true
        }
        guard case .waitingForBuffer(let request) = reading, !stream.isDead else {
            buffers.didLeaveLine()
            // A client that has gone needs no answer.
            if stream.isDead { hangUp() }
            return true
        }
        guard startWaiting(request) else { return false }
        buffers.didLeaveLine()
        proceed()
        return true
    }

    /// Belongs to another loop from now on; `change` has moved the rest.
    func belong(to owner: SessionLoop, port: DiskPort) {
        input = input.moved(to: owner.loop.receiveBuffers)
        self.port = port
        self.owner = owner
        loop = owner.loop
    }

    // MARK: The end

    private func reportIfQuiet() {
        guard !whenQuiet.isEmpty, !stream.isReceiving, slots?.inFlight ?? 0 == 0, large?.stage != .inFlight else {
            return
        }
        // The newcomer that waits for this session may need its place.
        exports.leave()
        let reports = whenQuiet
        whenQuiet = []
        for report in reports { report() }
    }

    /// Releases everything when nothing refers to the session any more.
    func closeIfIdle() {
        if let large, large.isActive {
            beginPiece(of: large)
            guard !large.isActive else { return reportIfQuiet() }
        }
        reportIfQuiet()
        guard case .nothing = reading, stream.hasSentAll, !awaitsBatchEnd, !awaitsTurn,
            slots?.inFlight ?? 0 == 0
        else { return }
        guard !stream.isReceiving else {
            // The end of the receive leads here again.
            return stream.hangUp()
        }
        guard !isClosed, stream.sayGoodbye() else { return }
        isClosed = true
        visit.closed(refusal: handshake.refused)
        exports.leave()
        if buffers.line != nil { buffers.leaveLine(self) }
        stream.close()
        onClose()
        owner.didClose(self)
    }
}
