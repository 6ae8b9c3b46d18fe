import CLinux
import Glibc
import Ring
import TLS

/// The byte stream of one connection, with or without TLS: at most one receive and one send, and the queue of replies.
///
/// It calls `Session.received` when bytes have come and `Session.sent` when the queue has become shorter. It is used
/// on its loop's thread.
final class ClientStream: RingHandler {
    private let socket: CInt
    private unowned(unsafe) var loop: EventLoop
    /// Set by the session that owns the stream, before anything is sent or received.
    unowned(unsafe) var session: Session?
    private let receiveOperation: UnsafeMutablePointer<RingOperation>
    private let sendOperation: UnsafeMutablePointer<RingOperation>
    private var tls: TLSChannel?
    private var hasSaidGoodbye = false
    private var isHungUp = false

    /// The replies that are not sent yet.
    var replies: ReplyQueue
    private(set) var isReceiving = false
    private(set) var isSending = false
    /// `selectedCount` is the most bytes of the last receive into a loop's buffer; `hasReceivedAll` tells whether less
    /// came.
    private var selectedCount = 0
    private var hasReceivedAll = false
    /// Receives for which a client still counts as one that sends requests before it has the replies to others.
    private var streak = 0
    private static let longestStreak = 16  // As many as may come singly between two batches of fio's engine (2026-12).
    /// Whether the stream uses TLS.
    var isSecure: Bool { tls != nil }
    /// Bytes sent and received so far, and the receives.
    private(set) var work = SessionWork()
    private var bytesBefore = 0
    /// Bytes sent and received since `beginWatch`.
    var moved: Int { work.bytes &- bytesBefore }

    /// Takes over a socket until `close`.
    init(socket: CInt, owner: SessionLoop) {
        self.socket = socket
        loop = owner.loop
        replies = ReplyQueue(regions: owner.replyRegions, pool: owner.pool)
        receiveOperation = .allocate(capacity: 1)
        sendOperation = .allocate(capacity: 1)
        super.init()
        receiveOperation.initialize(to: RingOperation(handler: self))
        sendOperation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        receiveOperation.deallocate()
        sendOperation.deallocate()
    }

    /// Whether the kernel knows that the client has closed its end, or its sending half.
    var isClosedByClient: Bool { linux_peer_has_closed(socket) == 1 }

    /// Whether the kernel knows that nothing can be sent any more.
    var isDead: Bool { linux_connection_is_dead(socket) == 1 }

    /// Whether no receive, send or unsent reply is left.
    var isIdle: Bool { !isReceiving && hasSentAll }

    /// Whether all replies are sent, or never will be.
    var hasSentAll: Bool { replies.isEmpty && !isSending && (isHungUp || tls?.output.isEmpty ?? true) }

    /// Begins to count `moved`.
    func beginWatch() { bytesBefore = work.bytes }

    /// Goes on at another loop; the stream must be idle. A watch that has begun there does not count.
    func move(to owner: SessionLoop) {
        precondition(isIdle)
        replies.discard()
        replies = ReplyQueue(regions: owner.replyRegions, pool: owner.pool)
        loop = owner.loop
        bytesBefore = work.bytes &- ServerLimits.leastMoved
    }

    /// Starts TLS; no byte in the clear may be unsent.
    func startTLS(_ context: TLSContext) {
        precondition(isIdle && tls == nil)
        tls = TLSChannel(context: context)
    }

    /// Receives into `buffer`.
    /// - Parameter waitForAll: whether fewer than `count` bytes are of no use.
    /// - Returns: the argument of `Session.received` if the result is known at once; nil if the session is called
    ///   later.
    func receive(into buffer: UnsafeMutableRawPointer, count: Int, waitForAll: Bool) -> Int32? {
        precondition(!isReceiving)
        if let tls { return receiveDecrypted(tls, into: buffer, count: count) }
        isReceiving = true
        loop.receive(socket, into: buffer, count: count, waitForAll: waitForAll, receiveOperation)
        return nil
    }

    /// Receives into one of the loop's buffers; only without TLS.
    /// - Parameters:
    ///   - count: the most bytes, up to `ReceiveBuffers.length`.
    ///   - requests: the requests that were begun since the last call.
    func receiveSelected(_ count: Int, after requests: Int) {
        precondition(!isReceiving && tls == nil)
        isReceiving = true
        selectedCount = count
        // A client that sends several at once has mostly sent more meanwhile: to poll first would cost more than to try.
        if requests > 0 { streak = requests > 1 ? Self.longestStreak : max(0, streak - 1) }
        let pollsFirst = hasReceivedAll && (streak == 0 || loop.receiveBuffers.areScarce())
        loop.receiveSelected(socket, count: count, isLikelyEmpty: pollsFirst, receiveOperation)
    }

    private func receiveDecrypted(_ tls: TLSChannel, into buffer: UnsafeMutableRawPointer, count: Int) -> Int32? {
        let outcome = tls.read(into: buffer, count: count)
        // Reading also drives TLS's handshake, which may have produced output.
        guard flush() else { return -EPIPE }
        switch outcome {
        case .done(let count):
            return Int32(count)
        case .needsInput:
            let room = tls.roomForInput()
            guard let base = room.baseAddress, room.count > 0 else { return -EPROTO }
            isReceiving = true
            loop.receive(socket, into: base, count: room.count, receiveOperation)
            return nil
        case .needsRoom:
            // The flush makes room now or when its send completes; then the session reads again.
            return isSending ? nil : -EAGAIN
        case .closed:
            return 0
        case .failed:
            return -EPROTO
        }
    }

    /// Sends queued replies until the socket is full; the rest follows without another call.
    /// - Returns: false if the connection is broken.
    func flush() -> Bool {
        guard !isSending, !isHungUp else { return true }
        if let tls { return flushEncrypted(tls) }
        let before = replies.sentBytes
        guard replies.sendNow(socket) == 0 else { return false }
        work.bytes &+= replies.sentBytes - before
        if let part = replies.firstPart { sendLater(part.base, part.count) }
        return true
    }

    private func flushEncrypted(_ tls: TLSChannel) -> Bool {
        while true {
            guard encrypt(tls) else { return false }
            let output = tls.output
            guard let base = output.baseAddress, output.count > 0 else { return true }
            let sent = send(socket, base, output.count, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
            if sent > 0 {
                work.bytes &+= sent
                tls.didSend(sent)
            } else if errno == EAGAIN {
                sendLater(base, output.count)
                return true
            } else if errno != EINTR {
                return false
            }
        }
    }

    /// Encrypts replies while the TLS channel has room.
    private func encrypt(_ tls: TLSChannel) -> Bool {
        while let part = replies.firstPart {
            switch tls.write(from: part.base, count: part.count) {
            case .done(let count): replies.didSend(count)
            case .needsRoom: return true
            // Replies are queued only after TLS's handshake, and there is no renegotiation.
            case .needsInput, .closed, .failed: return false
            }
        }
        return true
    }

    private func sendLater(_ base: UnsafeRawPointer, _ count: Int) {
        isSending = true
        loop.send(socket, from: base, count: min(ServerLimits.step, count), sendOperation)
    }

    /// Sends TLS's closing message.
    /// - Returns: whether it has been sent.
    func sayGoodbye() -> Bool {
        if let tls, !hasSaidGoodbye, !isHungUp {
            hasSaidGoodbye = true
            tls.close()
            if !flush() { hangUp() }
        }
        return hasSentAll
    }

    /// Ends the receive in flight; queued replies are still sent.
    func endReceiving() {
        shutdown(socket, CInt(SHUT_RD))
    }

    /// Ends both directions; unsent replies are dropped.
    func hangUp() {
        isHungUp = true
        shutdown(socket, CInt(SHUT_RDWR))
        if !isSending { replies.discard() }
    }

    /// Closes the socket; the stream must be idle.
    func close() {
        precondition(isIdle)
        // Room that was reserved for a reply and not used goes back to the pool.
        replies.discard()
        Glibc.close(socket)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result > 0 { work.bytes &+= Int(result) }
        if operation == receiveOperation {
            isReceiving = false
            if result > 0 { work.receives &+= 1 }
            let buffer = operation.pointee.selectedBuffer
            if buffer >= 0 {
                hasReceivedAll = result < selectedCount
                return session!.received(result, inBuffer: buffer)
            }
            if result == -ENOBUFS { loop.receiveBuffers.ranOut() }
            guard let tls, result > 0 else { return session!.received(result) }
            tls.didReceive(Int(result))
            session!.receivedEncrypted()
        } else {
            isSending = false
            sent(result)
        }
    }

    private func sent(_ result: Int32) {
        guard !isHungUp else {
            replies.discard()
            return session!.sent(isBroken: false)
        }
        guard result > 0 || result == -EINTR || result == -EAGAIN else { return session!.sent(isBroken: true) }
        if result > 0 {
            if let tls { tls.didSend(Int(result)) } else { replies.didSend(Int(result)) }
        }
        session!.sent(isBroken: !flush())
    }
}
