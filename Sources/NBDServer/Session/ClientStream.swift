import CLinux
import Glibc
import Ring
import TLS

/// The bytes of one client's connection, in the clear or encrypted: one receive and one send at a time, and the line of
/// replies.
///
/// It tells its session what has come (`Session.received`) and that the line has got shorter (`Session.sent`).
final class ClientStream: RingHandler {
    private let socket: CInt
    private unowned(unsafe) let loop: EventLoop
    /// Set by the session that owns the stream, before anything happens.
    unowned(unsafe) var session: Session?
    private let receiveOperation: UnsafeMutablePointer<RingOperation>
    private let sendOperation: UnsafeMutablePointer<RingOperation>
    private var tls: TLSChannel?
    private var hasSaidGoodbye = false
    private var isHungUp = false

    /// What is still to be said.
    var replies: ReplyQueue
    private(set) var isReceiving = false
    private(set) var isSending = false
    /// The most that the last receive into a buffer of the loop's takes, and whether that was all that was there.
    private var selectedCount = 0
    private var hasReceivedAll = false
    /// Whether the bytes are encrypted.
    var isSecure: Bool { tls != nil }
    /// Bytes that the client has sent or taken since this was last set to 0.
    var moved = 0

    /// Takes the socket over; it is closed by `close`.
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

    /// Whether nothing is under way or waiting.
    var isIdle: Bool { !isReceiving && hasSentAll }

    /// Whether all that was said has gone out, or never will.
    var hasSentAll: Bool { replies.isEmpty && !isSending && (isHungUp || tls?.output.isEmpty ?? true) }

    /// Encrypts from here on; nothing that was said in the clear may still be on its way.
    func startTLS(_ context: TLSContext) {
        precondition(isIdle && tls == nil)
        tls = TLSChannel(context: context)
    }

    /// Receives into `buffer`.
    /// - Parameter waitForAll: no less than `count` bytes are of use.
    /// - Returns: as `Session.received`, where it is known already; otherwise the session is told later.
    func receive(into buffer: UnsafeMutableRawPointer, count: Int, waitForAll: Bool) -> Int32? {
        precondition(!isReceiving)
        if let tls { return receiveDecrypted(tls, buffer, count) }
        isReceiving = true
        loop.receive(socket, into: buffer, count: count, waitForAll: waitForAll, receiveOperation)
        return nil
    }

    /// Receives into one of the loop's buffers; only in the clear.
    /// - Parameter count: the most bytes, up to `ReceiveBuffers.length`.
    func receiveSelected(_ count: Int) {
        precondition(!isReceiving && tls == nil)
        isReceiving = true
        selectedCount = count
        loop.receiveSelected(socket, count: count, isLikelyEmpty: hasReceivedAll, receiveOperation)
    }

    private func receiveDecrypted(_ tls: TLSChannel, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int32? {
        let outcome = tls.read(into: buffer, count: count)
        // Reading is also what drives TLS's own handshake.
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
            // What has just been flushed makes it, now or once it is sent; then the session asks again.
            return isSending ? nil : -EAGAIN
        case .closed:
            return 0
        case .failed:
            return -EPROTO
        }
    }

    /// Sends what waits, as far as the socket takes it; the rest follows by itself.
    /// - Returns: false where the connection has broken.
    func flush() -> Bool {
        guard !isSending, !isHungUp else { return true }
        if let tls { return flushEncrypted(tls) }
        let before = replies.sentBytes
        guard replies.sendNow(socket) == 0 else { return false }
        moved += replies.sentBytes - before
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
                moved += sent
                tls.didSend(sent)
            } else if errno == EAGAIN {
                sendLater(base, output.count)
                return true
            } else if errno != EINTR {
                return false
            }
        }
    }

    /// Encrypts as many replies as there is room for.
    private func encrypt(_ tls: TLSChannel) -> Bool {
        while let part = replies.firstPart {
            switch tls.write(from: part.base, count: part.count) {
            case .done(let count): replies.didSend(count)
            case .needsRoom: return true
            // Nothing is said before TLS's handshake is over, and none follows.
            case .needsInput, .closed, .failed: return false
            }
        }
        return true
    }

    private func sendLater(_ base: UnsafeRawPointer, _ count: Int) {
        isSending = true
        loop.send(socket, from: base, count: min(ServerLimits.step, count), sendOperation)
    }

    /// Says what TLS wants said at the end; whether that has gone out.
    func sayGoodbye() -> Bool {
        if let tls, !hasSaidGoodbye, !isHungUp {
            hasSaidGoodbye = true
            tls.close()
            if !flush() { hangUp() }
        }
        return hasSentAll
    }

    /// Ends the receive that is in flight; what was said still goes out.
    func endReceiving() {
        shutdown(socket, CInt(SHUT_RD))
    }

    /// Ends both directions; what was not sent never will be.
    func hangUp() {
        isHungUp = true
        shutdown(socket, CInt(SHUT_RDWR))
        if !isSending { replies.discard() }
    }

    /// Gives the socket back to the kernel; only when idle.
    func close() {
        precondition(isIdle)
        // Room may have been reserved for a reply that never came to be; it goes back to the pool.
        replies.discard()
        Glibc.close(socket)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result > 0 { moved += Int(result) }
        if operation == receiveOperation {
            isReceiving = false
            let buffer = operation.pointee.selectedBuffer
            if buffer >= 0 {
                hasReceivedAll = result < selectedCount
                return session!.received(result, inBuffer: buffer)
            }
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
