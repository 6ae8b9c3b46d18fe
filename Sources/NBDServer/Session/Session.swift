import Block
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
        /// Somebody looks at the export that the client asks for.
        case lookingAtExport
        /// The client has been told to begin; once that is sent, everything is encrypted.
        case startingTLS
        /// The export has been chosen; connections that were given up are finished first.
        case waitingForOthers
        /// The export may have no further client; connections that were given up are finished first.
        case waitingForAdmission
        case header
        /// Of a write; `received` bytes are in the request's buffer.
        case payload(UnsafeMutablePointer<BlockRequest>, received: Int)
        /// Of a refused request; `left` bytes are still to come. The answer waits for them: a client that is still sending
        /// expects none yet.
        case refusedPayload(Request, ErrorCode, left: Int)
        /// Of a write that waits for a buffer.
        case waitingForBuffer(Request)
        /// Nothing, until the next piece of a large request is needed or the request is over.
        case large
        /// Nothing more is read.
        case nothing
    }

    private unowned(unsafe) let owner: SessionLoop
    private unowned(unsafe) let loop: EventLoop
    private unowned(unsafe) let pool: BufferPool
    private let exports: SessionExports
    private let tls: ServerTLS?
    private let onClose: @Sendable () -> Void

    private var reading = Reading.handshake
    private var handshake: Handshake
    private var handshakePace = HandshakePace()
    /// Portions of the handshake's answers that were put into the line of replies.
    private var handshakePortions = 0
    private var handshakeInput: [UInt8] = []
    /// Answers of the handshake that did not fit between the replies.
    private var handshakeOutput: ArraySlice<UInt8> = []
    /// What the handshake has come to, once its answers are in the line.
    private var handshakeProgress = Handshake.Progress.needsMore
    private var export: Export?
    private var negotiation = Negotiation(export: ExportDescription(name: "", size: 0, isReadOnly: true))
    private var port: DiskPort?
    private var statusReply: StatusReply?
    private var owedFlush: OwedFlush?

    private let input: SessionInput
    private var slots: RequestSlots?
    private var bytesInFlight = 0
    /// Made for the first request that is larger than a connection may hold.
    private var large: LargeTransfer?
    private let stream: ClientStream
    /// Where the receive in flight puts its bytes: a request's buffer, or `input`.
    private var isReceivingPayload = false
    /// The last request was a write with a payload that is received into a buffer of its own. The next is likely to be one
    /// too: only its header is received first, so that none of the payload has to be copied.
    private var expectsLargePayload = false
    private var awaitsBatchEnd = false
    /// The share of the pool in whose line the session stands; nil for none.
    private var line: Int?
    /// It has stood there since `beginStallWatch`, or longer.
    private var waitsSinceWatch = false
    private var hasWaitedLong = false
    /// Bytes read or written at once since the others had their turn.
    private var turnBytes = 0
    private var awaitsTurn = false
    private var whenQuiet: [() -> Void] = []
    /// Nothing more will come; what has come is still worked on.
    private var isAtEnd = false
    /// No more is read.
    private var isStopping = false
    /// No more is read or sent.
    private var isHungUp = false
    private var isClosed = false

    init(
        socket: CInt, owner: SessionLoop, exports: ExportTable, tls: ServerTLS?,
        onClose: @escaping @Sendable () -> Void
    ) {
        self.owner = owner
        loop = owner.loop
        pool = owner.pool
        self.exports = SessionExports(exports)
        self.tls = tls
        handshake = Handshake(tls: tls?.policy ?? .off)
        self.onClose = onClose
        input = SessionInput(buffers: owner.loop.receiveBuffers)
        stream = ClientStream(socket: socket, owner: owner)
        super.init()
        stream.session = self
    }

    func begin() {
        handshakeOutput = handshake.greeting[...]
        queueHandshakeOutput()
        proceed()
    }

    /// Takes no further request; ends when those it has are answered.
    /// - Parameter whenQuiet: called once none of them is in flight any more, answered or not.
    func drain(whenQuiet: @escaping () -> Void) {
        // A closed socket's number may be another client's by now.
        guard !isClosed else { return whenQuiet() }
        self.whenQuiet.append(whenQuiet)
        stopReading()
        // Wakes the receive that is in flight; replies still go out.
        stream.endReceiving()
        limitStatus(to: stream.isDead ? .nothing : .least)
        closeIfIdle()
    }

    /// Whether the client has not chosen an export yet.
    var isNegotiating: Bool {
        switch reading {
        case .handshake, .lookingAtExport, .startingTLS, .waitingForAdmission: true
        default: false
        }
    }

    /// Called every `ServerLimits.handshake` seconds while the client negotiates.
    func noteSlowHandshake() {
        if handshakePace.hasStalled(options: handshake.optionsServed, portions: handshakePortions) { hangUp() }
    }

    /// From now on it is noted how much the client sends and takes.
    func beginStallWatch() {
        stream.moved = 0
        waitsSinceWatch = line != nil
    }

    /// Called some time after `beginStallWatch` while buffers are short. A request that needs much of them may wait for
    /// clients that are slow, for as long as they like: it goes on in pieces that need little.
    func noteLongWait() {
        guard waitsSinceWatch, line != nil else { return }
        hasWaitedLong = true
        proceed()
    }

    /// Whether it is the client's fault that buffers have been held since `beginStallWatch` for which others wait.
    var hasStalled: Bool {
        guard stream.moved < ServerLimits.leastMoved else { return false }
        // With TLS, a payload may have to wait until the client takes what it was told.
        if case .payload(let request, _) = reading, stream.isReceiving || stream.isSending,
            pool.isShort(request.pointee.bufferShare)
        {
            return true
        }
        return stream.isSending && stream.replies.holdsAwaitedBuffer
    }

    /// Whether the client has said or shown that it will ask for nothing more of the disk of `export` here.
    func isGivenUp(on export: Export) -> Bool {
        guard self.export?.disk === export.disk else { return false }
        if case .nothing = reading { return true }
        return isStopping || stream.isClosedByClient
    }

    /// Gives the client up: nothing more is read or sent.
    func hangUp() {
        guard !isHungUp, !isClosed else { return }
        isHungUp = true
        limitStatus(to: .nothing)
        stopReading()
        stream.hangUp()
        closeIfIdle()
    }

    // MARK: Events

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        answer(request)
        // A free slot may be what the next request was waiting for.
        proceed()
    }

    override func batchEnded() {
        awaitsBatchEnd = false
        flushReplies()
        // What went out may be what the next request was waiting for.
        if !stream.isSending { proceed() }
    }

    override func turnCame() {
        awaitsTurn = false
        turnBytes = 0
        proceed()
    }

    override func bufferMayBeAvailable() -> Bool {
        if let large, mayContinue(large), !stream.isDead {
            guard let (buffer, share) = pool.allocateInTurn(large.nextLength, from: line!) else { return false }
            large.slot.pointee.bufferShare = share
            didLeaveLine()
            start(large, with: buffer)
            proceed()
            return true
        }
        guard case .waitingForBuffer(let request) = reading, !stream.isDead else {
            didLeaveLine()
            // Nobody waits for what a client asked for that has gone.
            if stream.isDead { hangUp() }
            return true
        }
        guard startWaiting(request) else { return false }
        didLeaveLine()
        proceed()
        return true
    }

    private func didLeaveLine() {
        line = nil
        waitsSinceWatch = false
        hasWaitedLong = false
    }

    /// Reads no more. A payload that is being received keeps its buffer until the kernel lets go of it.
    private func stopReading() {
        isStopping = true
        guard !stream.isReceiving else { return }
        if case .payload(let request, _) = reading {
            if let large, large.slot == request { end(large) } else { releaseRequest(request) }
        }
        reading = .nothing
    }

    // MARK: Receiving

    /// A receive has ended: bytes, 0 at the client's end, or a negated `errno`.
    func received(_ result: Int32) {
        take(result)
        proceed()
    }

    /// As `received`, into a buffer of the loop's.
    func received(_ count: Int32, inBuffer number: Int) {
        if isStopping || count <= 0 {
            loop.receiveBuffers.give(number)
            take(count)
        } else {
            input.borrow(number, count: Int(count))
        }
        proceed()
    }

    /// Something has come that has to be decrypted first.
    func receivedEncrypted() {
        if isStopping { stopReading() }
        proceed()
    }

    private func take(_ result: Int32) {
        // All buffers were out for a moment.
        if result == -EINTR || result == -EAGAIN || result == -ENOBUFS { return }
        guard !isStopping else { return stopReading() }
        // Whoever has broken the connection reads no replies either.
        guard result >= 0 else { return hangUp() }
        guard result > 0 else { return noteEnd() }
        // A receive into `input` may have begun before its last request became a write.
        if isReceivingPayload, case .payload(let request, let received) = reading {
            takePayload(request, received + Int(result))
        } else {
            input.didReceive(Int(result))
        }
    }

    /// Nothing more will come. What the client has asked for is still done.
    private func noteEnd() {
        isAtEnd = true
        if stream.isDead { limitStatus(to: .nothing) }
        if case .payload = reading { stopReading() }
    }

    /// Parses what is at hand, then asks for more.
    private func proceed() {
        if line != nil { reconsiderLine() }
        repeat {
            while parseOne() {}
            input.keepRest()
        } while receiveMore()
        closeIfIdle()
    }

    /// - Returns: whether there was more at once.
    private func receiveMore() -> Bool {
        guard !stream.isReceiving, !isStopping, !awaitsTurn else { return false }
        guard !isAtEnd else {
            stopAtEnd()
            return false
        }
        let result: Int32?
        switch reading {
        case .nothing, .waitingForBuffer, .waitingForOthers, .lookingAtExport, .waitingForAdmission, .startingTLS,
            .large:
            return false
        case .handshake where !handshakeOutput.isEmpty:
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
                    isAtHeader && expectsLargePayload ? negotiation.style.requestHeaderLength : ReceiveBuffers.length)
                return false
            }
            // Full of requests that wait for slots or for replies to go out: whoever frees those proceeds.
            guard let room = input.room else { return false }
            result = stream.receive(into: room.baseAddress!, count: room.count, waitForAll: false)
        }
        guard let result else { return false }
        take(result)
        return true
    }

    private var isAtHeader: Bool { if case .header = reading { true } else { false } }

    /// Stops once what stands in the input can't be parsed for want of more, and not for want of room.
    private func stopAtEnd() {
        switch reading {
        case .waitingForBuffer, .waitingForOthers, .lookingAtExport, .waitingForAdmission, .startingTLS, .large: return
        case .payload: stopReading()
        default: if slots?.inFlight ?? 0 == 0, stream.hasSentAll, handshakeOutput.isEmpty { stopReading() }
        }
    }

    /// Whether something was taken off the input, so that there may be more.
    private func parseOne() -> Bool {
        let available = input.count
        guard !isStopping, !awaitsTurn else { return false }
        switch reading {
        case .handshake:
            return takeHandshake()
        case .header:
            guard available >= negotiation.style.requestHeaderLength else { return false }
            guard let request = Request(header: input.bytes, style: negotiation.style) else {
                hangUp()
                return false
            }
            return begin(request)
        case .payload(let request, let received):
            guard available > 0 else { return false }
            let count = min(available, Int(request.pointee.length) - received)
            memcpy(request.pointee.buffer! + received, input.bytes, count)
            input.drop(count)
            takePayload(request, received + count)
            return true
        case .refusedPayload(let request, let verdict, let left):
            let count = min(available, left)
            input.drop(count)
            guard count == left else {
                reading = .refusedPayload(request, verdict, left: left - count)
                return false
            }
            reading = .header
            end(verdict, cookie: request.cookie, offset: request.offset)
            return true
        case .startingTLS:
            guard stream.isIdle, !awaitsBatchEnd, let tls else { return false }
            stream.startTLS(tls.context)
            reading = .handshake
            return false
        case .waitingForBuffer, .waitingForOthers, .lookingAtExport, .waitingForAdmission, .large, .nothing:
            return false
        }
    }

    private func takeHandshake() -> Bool {
        if !input.isEmpty { handshakeInput += UnsafeRawBufferPointer(start: input.bytes, count: input.count) }
        input.drop(input.count)
        // A client that asks has to read before it is told more.
        if handshakeOutput.isEmpty { continueHandshake() }
        queueHandshakeOutput()
        guard handshakeOutput.isEmpty else { return false }
        let progress = handshakeProgress
        handshakeProgress = .needsMore
        switch progress {
        case .needsMore:
            return false
        case .needsSending:
            return true
        case .needsLook(let name):
            return !beginLook(at: name)
        case .needsAdmission:
            waitForAdmission()
            return false
        case .close:
            reading = .nothing
            return false
        case .startTLS:
            // What a stranger may have put behind the option in the clear must not be taken for the client's.
            handshakeInput = []
            reading = .startingTLS
            return true
        case .transmission(let negotiation):
            beginTransmission(negotiation)
            return true
        }
    }

    /// - Returns: false where nobody needs to look any more.
    private func beginLook(at name: String) -> Bool {
        guard let watcher = exports.watcher(of: name) else {
            handshake.looked(refusal: nil)
            return false
        }
        reading = .lookingAtExport
        watcher.look { [self, loop] refusal in loop.post { [self] in looked(refusal) } }
        return true
    }

    private func looked(_ refusal: String?) {
        guard case .lookingAtExport = reading else { return }
        handshake.looked(refusal: refusal)
        reading = .handshake
        proceed()
    }

    private func continueHandshake() {
        var rest = handshakeInput[...]
        var output: [UInt8] = []
        handshakeProgress = handshake.receive(&rest, output: &output, catalog: exports)
        handshakeInput = Array(rest)
        handshakeOutput = output[...]
    }

    /// Clients that have left may still be counted: with them finished, the count decides.
    private func waitForAdmission() {
        guard let export = exports.undecided else { return hangUp() }
        reading = .waitingForAdmission
        owner.finishGivenUp(on: export, for: self) { [self] in
            guard case .waitingForAdmission = reading else { return }
            exports.decide()
            reading = .handshake
            proceed()
        }
    }

    private func beginTransmission(_ negotiation: Negotiation) {
        // It may be gone, or another one, since the client was told of it.
        guard let export = exports.chosen, export.description.size == negotiation.export.size,
            export.description.isReadOnly == negotiation.export.isReadOnly
        else { return hangUp() }
        self.export = export
        self.negotiation = negotiation
        if !negotiation.contexts.isEmpty { statusReply = StatusReply(negotiation, export.maps) }
        let port = export.disk.port(on: loop)
        self.port = port
        owedFlush = OwedFlush(export.disk.losses)
        slots = RequestSlots(
            count: ServerLimits.requestsPerConnection, owner: self, port: port, isSynchronous: export.isSynchronous)
        reading = .waitingForOthers
        owner.finishGivenUp(on: export, for: self) { [self] in
            guard case .waitingForOthers = reading else { return }
            reading = .header
            proceed()
        }
        // Requests that came right behind the handshake; never more than one receive brought.
        input.keepRest()
        input.keep(handshakeInput)
        handshakeInput = []
    }

    // MARK: Requests

    /// Takes a request off the input, unless there is no room yet to work on it or to answer it.
    private func begin(_ request: Request) -> Bool {
        guard slots!.hasFree, hasRoom(for: Reply.maximumHeader) else { return false }
        let verdict = request.verdict(under: negotiation)
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
        guard isWithinShare(request), !yieldTurn() else { return false }
        if request.command == .write, writeAtOnce(request) { return true }
        input.drop(negotiation.style.requestHeaderLength)
        start(request)
        return true
    }

    /// Lets the others of this loop go on where this connection has kept it long enough.
    private func yieldTurn() -> Bool {
        guard turnBytes >= ServerLimits.turn else { return false }
        awaitsTurn = true
        loop.atNextTurn(self)
        return true
    }

    /// A write whose payload has come with it goes straight from the input to the disk.
    private func writeAtOnce(_ request: Request) -> Bool {
        let header = negotiation.style.requestHeaderLength
        let count = Int(request.length)
        guard count > 0, input.count >= header + count, !slots!.mustBeDurable(request),
            let error = port!.writeAtOnce(from: input.bytes + header, length: count, at: request.offset)
        else { return false }
        input.drop(header + count)
        turnBytes += count
        if error != 0 { noteFailedWrite(error, request.offset, request.length) }
        end(ErrorCode(errno: error), cookie: request.cookie, offset: request.offset)
        return true
    }

    /// Room for the answer is there, and nothing that comes meanwhile takes it: requests in flight have theirs.
    private func refuse(_ request: Request, _ verdict: ErrorCode) {
        // What has no end can't be passed over.
        guard let count = Int(exactly: request.payloadLength) else { return hangUp() }
        guard count == 0 else {
            reading = .refusedPayload(request, verdict, left: count)
            return
        }
        end(verdict, cookie: request.cookie, offset: request.offset)
    }

    /// Whether this connection may take the buffer that a request needs; sending and finishing others makes room.
    private func isWithinShare(_ request: Request) -> Bool {
        if request.command == .read, stream.replies.bufferBytes >= ServerLimits.unsent { return false }
        let held = bytesInFlight + stream.replies.bufferBytes
        return held == 0 || held + bufferLength(of: request) <= ServerLimits.buffersPerConnection
    }

    /// Bytes of the buffer that a request needs.
    private func bufferLength(of request: Request) -> Int {
        switch request.command {
        case .read, .write: Int(request.length)
        case .blockStatus: statusReply!.bufferLength(extents: Self.extentLimit(of: request))
        default: 0
        }
    }

    /// As `bufferLength(of:)` of the request in that slot.
    private func bufferLength(of slot: UnsafeMutablePointer<BlockRequest>) -> Int {
        slot.pointee.kind.carriesData
            ? Int(slot.pointee.length) : statusReply!.bufferLength(extents: slot.pointee.extentLimit)
    }

    private static func extentLimit(of request: Request) -> Int {
        request.flags.contains(.requestOne) ? 1 : ServerLimits.extentsPerReply
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
        case .blockStatus:
            if !startStatus(request) { waitForBuffer(request) }
        case .flush:
            port!.submit(slots!.acquire(for: request))
        case .read, .write, .trim, .cache, .writeZeroes:
            if request.length > 0 {
                port!.submit(slots!.acquire(for: request))
            } else {
                end(.none, cookie: request.cookie, offset: request.offset)
            }
        }
    }

    /// A small read whose bytes are at hand goes straight between the replies.
    private func readFromCache(_ request: Request) -> Bool {
        let count = Int(request.length)
        guard count <= ServerLimits.smallRead else { return false }
        let header = negotiation.style.dataHeaderLength
        guard hasRoom(for: header + count), let room = stream.replies.reserve(header + count, spare: headersOwed),
            port!.readIfCached(into: room + header, length: count, at: request.offset) == count
        else { return false }
        Reply.storeData(negotiation.style, cookie: request.cookie, offset: request.offset, count: count, to: room)
        stream.replies.commit(header + count)
        turnBytes += count
        flushAtBatchEnd()
        return true
    }

    /// - Returns: false where no buffer is to be had now.
    private func startRead(_ request: Request) -> Bool {
        guard let (buffer, share) = takeBuffer(request) else { return false }
        reading = .header
        let slot = slots!.acquire(for: request)
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        slot.pointee.readAlready = port!.readIfCached(into: buffer, length: Int(request.length), at: request.offset)
        if slot.pointee.readAlready == Int(request.length) {
            turnBytes += Int(request.length)
            answer(slot)
        } else {
            port!.submit(slot)
        }
        return true
    }

    /// - Returns: false where no buffer is to be had now.
    private func startWrite(_ request: Request) -> Bool {
        guard let (buffer, share) = takeBuffer(request) else { return false }
        let slot = slots!.acquire(for: request)
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        reading = .payload(slot, received: 0)
        return true
    }

    /// - Returns: false where no buffer is to be had now.
    private func startStatus(_ request: Request) -> Bool {
        guard let (buffer, share) = takeBuffer(request) else { return false }
        reading = .header
        let slot = slots!.acquire(for: request)
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        slot.pointee.extentLimit = Self.extentLimit(of: request)
        port!.submit(slot)
        return true
    }

    private func takeBuffer(_ request: Request) -> (buffer: UnsafeMutableRawPointer, share: Int)? {
        let count = bufferLength(of: request)
        guard
            let taken = line.map({ pool.allocateInTurn(count, from: $0) }) ?? pool.allocate(count, from: share(with: count))
        else { return nil }
        bytesInFlight += count
        return taken
    }

    /// The first share that a further buffer of `count` bytes may be of.
    private func share(with count: Int) -> Int {
        BufferShare.first(holding: bytesInFlight + stream.replies.bufferBytes + count)
    }

    private func waitForBuffer(_ request: Request) {
        reading = .waitingForBuffer(request)
        standInLine(for: bufferLength(of: request))
    }

    private func standInLine(for count: Int) {
        let share = share(with: count)
        line = share
        pool.whenAvailable(self, share: share)
        owner.watchForStalls()
    }

    private func leaveLine() {
        didLeaveLine()
        pool.forget(self)
    }

    /// What the connection has given back since may let it take from another share; what has waited long goes in pieces.
    private func reconsiderLine() {
        guard !isStopping else { return }
        if let large, large.stage == .waiting {
            if hasWaitedLong, large.makePiecesSmall() { leaveLine() }
            return
        }
        guard let line, case .waitingForBuffer(let request) = reading else { return }
        if share(with: bufferLength(of: request)) < line {
            leaveLine()
            if !startWaiting(request) { waitForBuffer(request) }
        } else if hasWaitedLong, slots!.inFlight == 0, request.carriesData, request.length > BufferShare.some {
            leaveLine()
            beginLarge(request, inPiecesOf: LargeTransfer.smallPiece)
        }
    }

    private func startWaiting(_ request: Request) -> Bool {
        switch request.command {
        case .write: startWrite(request)
        case .blockStatus: startStatus(request)
        default: startRead(request)
        }
    }

    private func takePayload(_ request: UnsafeMutablePointer<BlockRequest>, _ received: Int) {
        guard received == Int(request.pointee.length) else {
            reading = .payload(request, received: received)
            return
        }
        if let large, large.slot == request { return takePiece(large) }
        reading = .header
        guard !request.pointee.isForcedUnitAccess,
            let error = port!.writeAtOnce(from: request.pointee.buffer!, length: received, at: request.pointee.offset)
        else { return port!.submit(request) }
        turnBytes += received
        if error != 0 { noteFailedWrite(error, request.pointee.offset, request.pointee.length) }
        end(ErrorCode(errno: error), cookie: request.pointee.cookie, offset: request.pointee.offset)
        releaseRequest(request)
    }

    // MARK: Large requests

    /// Nothing may come between the pieces of a reply, and nothing else may take the room for its header: the request runs
    /// alone. Its header is off the input.
    private func beginLarge(_ request: Request, inPiecesOf piece: Int) {
        let large = large ?? LargeTransfer(session: self, port: port!)
        self.large = large
        large.begin(request, isDurable: slots!.mustBeDurable(request), piece: piece)
        // `closeIfIdle` goes on from here.
        reading = .large
    }

    /// Whether the next piece may have a buffer. Of a write whose client has gone nothing more comes; a read is answered.
    private func mayContinue(_ large: LargeTransfer) -> Bool {
        large.stage == .waiting && !isHungUp && !(isStopping && large.isWrite)
    }

    /// Begins the next piece where it is time for that and room.
    private func beginPiece(of large: LargeTransfer) {
        guard large.stage == .waiting else { return }
        guard mayContinue(large) else { return end(large) }
        let unsent = stream.replies.bufferBytes
        guard line == nil, unsent < ServerLimits.unsent, bytesInFlight + unsent + large.nextLength <= large.mostHeld
        else { return }
        guard let (buffer, share) = pool.allocate(large.nextLength, from: share(with: large.nextLength)) else {
            return standInLine(for: large.nextLength)
        }
        large.slot.pointee.bufferShare = share
        start(large, with: buffer)
    }

    private func start(_ large: LargeTransfer, with buffer: UnsafeMutableRawPointer) {
        bytesInFlight += large.nextLength
        large.prepare(buffer)
        guard large.isWrite else { return large.submit() }
        reading = .payload(large.slot, received: 0)
        proceed()
    }

    /// The payload of a piece is there.
    private func takePiece(_ large: LargeTransfer) {
        reading = .large
        if large.error == .none { large.submit() } else { pieceEnded(large) }
    }

    /// A piece has been read or written, or its payload dropped.
    func pieceEnded(_ large: LargeTransfer) {
        if large.slot.pointee.error != 0 { noteFailure(large.slot) }
        let isFirst = large.done == 0
        if large.isSending, large.slot.pointee.error == 0, !isHungUp { send(large, isFirst: isFirst) }
        let canAnswer = !large.isSending || isFirst
        releasePiece(large)
        large.advance()
        if large.isOver {
            let (request, error) = (large.request!, large.error)
            end(large)
            if !canAnswer && error != .none {
                // What was promised can't be kept: only the end of the connection says so.
                hangUp()
            } else if request.command == .write || error != .none {
                end(error, cookie: request.cookie, offset: request.offset)
            }
        }
        proceed()
    }

    /// The header of the whole reply goes before its first piece.
    private func send(_ large: LargeTransfer, isFirst: Bool) {
        if isFirst {
            Reply.storeData(
                negotiation.style, cookie: large.slot.pointee.cookie, offset: large.request!.offset,
                count: Int(large.request!.length), to: roomForHeader())
            stream.replies.commit(negotiation.style.dataHeaderLength)
        }
        appendBuffer(of: large.slot, count: Int(large.slot.pointee.length))
    }

    private func releasePiece(_ large: LargeTransfer) {
        guard let buffer = large.slot.pointee.buffer else { return }
        large.slot.pointee.buffer = nil
        bytesInFlight -= Int(large.slot.pointee.length)
        pool.free(buffer, Int(large.slot.pointee.length), share: large.slot.pointee.bufferShare)
    }

    private func end(_ large: LargeTransfer) {
        releasePiece(large)
        large.end()
        reading = isStopping ? .nothing : .header
    }

    // MARK: Replies

    /// Queues the reply to a request that has ended and frees its slot.
    private func answer(_ slot: UnsafeMutablePointer<BlockRequest>) {
        if slot.pointee.kind == .flush { slot.pointee.error = owedFlush!.outcome(of: slot.pointee.error) }
        let error = ErrorCode(errno: slot.pointee.error)
        switch slot.pointee.kind {
        case .read where error == .none: answerRead(slot)
        case .status where error == .none: answerStatus(slot)
        default:
            if error != .none { noteFailure(slot) }
            end(error, cookie: slot.pointee.cookie, offset: slot.pointee.offset)
        }
        releaseRequest(slot)
    }

    private func noteFailure(_ slot: UnsafeMutablePointer<BlockRequest>) {
        export?.failures.record(
            slot.pointee.kind, error: slot.pointee.error, mustBeFast: slot.pointee.mustBeFast,
            offset: slot.pointee.offset, length: slot.pointee.length)
    }

    private func noteFailedWrite(_ error: CInt, _ offset: UInt64, _ length: UInt64) {
        export?.failures.record(.write, error: error, mustBeFast: false, offset: offset, length: length)
    }

    private func answerRead(_ slot: UnsafeMutablePointer<BlockRequest>) {
        guard !isHungUp else { return }
        let count = Int(slot.pointee.length)
        let style = negotiation.style
        Reply.storeData(
            style, cookie: slot.pointee.cookie, offset: slot.pointee.offset, count: count, to: roomForHeader())
        stream.replies.commit(style.dataHeaderLength)
        appendBuffer(of: slot, count: count)
    }

    private func answerStatus(_ slot: UnsafeMutablePointer<BlockRequest>) {
        guard !isHungUp else { return }
        appendBuffer(of: slot, count: statusReply!.store(slot))
    }

    /// Hands the buffer of a request over to the replies.
    private func appendBuffer(of slot: UnsafeMutablePointer<BlockRequest>, count: Int) {
        let bufferCount = bufferLength(of: slot)
        stream.replies.append(
            slot.pointee.buffer!, count: count, bufferCount: bufferCount, share: slot.pointee.bufferShare)
        slot.pointee.buffer = nil
        bytesInFlight -= bufferCount
        flushAtBatchEnd()
    }

    /// Queues a reply without data.
    private func end(_ error: ErrorCode, cookie: UInt64, offset: UInt64) {
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
    private var headersOwed: Int { slots!.inFlight * Reply.maximumHeader }

    /// Whether `count` bytes can be queued now, after sending what waits if need be.
    private func hasRoom(for count: Int) -> Bool {
        if stream.replies.reserve(count, spare: headersOwed) != nil { return true }
        flushReplies()
        return !isHungUp && stream.replies.isEmpty
    }

    private func releaseRequest(_ slot: UnsafeMutablePointer<BlockRequest>) {
        let buffer = slot.pointee.buffer
        slot.pointee.buffer = nil
        slots!.release(slot)
        guard let buffer else { return }
        bytesInFlight -= bufferLength(of: slot)
        pool.free(buffer, bufferLength(of: slot), share: slot.pointee.bufferShare)
    }

    /// Puts what the handshake says into the line; what does not fit follows once that has been sent.
    private func queueHandshakeOutput() {
        while !handshakeOutput.isEmpty {
            let part = handshakeOutput.prefix(ServerLimits.handshakeStep)
            guard let room = stream.replies.reserve(part.count, spare: 0) else { return }
            part.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            stream.replies.commit(part.count)
            handshakeOutput = handshakeOutput.dropFirst(part.count)
            handshakePortions += 1
            flushAtBatchEnd()
        }
    }

    private func flushAtBatchEnd() {
        guard !awaitsBatchEnd else { return }
        awaitsBatchEnd = true
        loop.atBatchEnd(self)
    }

    private func flushReplies() {
        guard stream.flush() else { return hangUp() }
        closeIfIdle()
    }

    /// Something that waited has gone out, or never will.
    func sent(isBroken: Bool) {
        guard !isBroken else { return hangUp() }
        if stream.isSending { closeIfIdle() } else { proceed() }
    }

    // MARK: The end

    private func reportIfQuiet() {
        guard !whenQuiet.isEmpty, !stream.isReceiving, slots?.inFlight ?? 0 == 0, large?.stage != .inFlight else {
            return
        }
        // A newcomer that waits for this connection may need its place.
        exports.leave()
        let reports = whenQuiet
        whenQuiet = []
        for report in reports { report() }
    }

    /// Releases everything once nothing refers to the session any more.
    private func closeIfIdle() {
        if let large, large.isActive {
            beginPiece(of: large)
            guard !large.isActive else { return reportIfQuiet() }
        }
        reportIfQuiet()
        guard case .nothing = reading, stream.hasSentAll, !awaitsBatchEnd, !awaitsTurn,
            slots?.inFlight ?? 0 == 0
        else { return }
        guard !stream.isReceiving else {
            // Its completion closes.
            return stream.hangUp()
        }
        guard !isClosed, stream.sayGoodbye() else { return }
        isClosed = true
        exports.leave()
        if line != nil { pool.forget(self) }
        stream.close()
        onClose()
        owner.didClose(self)
    }
}
