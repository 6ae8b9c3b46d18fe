import CLinux
import Glibc
import Ring

/// The bytes of one client's connection: one receive and one send at a time, and the line of replies.
///
/// It tells its session what has come (`Session.received`) and that the line has got shorter (`Session.sent`).
final class ClientStream: RingHandler {
    private let socket: CInt
    private unowned(unsafe) let loop: EventLoop
    private unowned(unsafe) let session: Session
    private let receiveOperation: UnsafeMutablePointer<RingOperation>
    private let sendOperation: UnsafeMutablePointer<RingOperation>
    private var isHungUp = false

    /// What is still to be said.
    var replies: ReplyQueue
    private(set) var isReceiving = false
    private(set) var isSending = false
    /// Whether the client has sent or taken something since this was last set to false.
    var hasMoved = false

    /// Takes the socket over; it is closed by `close`.
    init(socket: CInt, session: Session, owner: SessionLoop) {
        self.socket = socket
        self.session = session
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

    /// Whether nothing is under way or waiting.
    var isIdle: Bool { !isReceiving && hasSentAll }

    /// Whether all that was said has gone out.
    var hasSentAll: Bool { replies.isEmpty && !isSending }

    /// Receives into `buffer`; the session is told when something has come.
    /// - Parameter waitForAll: no less than `count` bytes are of use.
    func receive(into buffer: UnsafeMutableRawPointer, count: Int, waitForAll: Bool) {
        precondition(!isReceiving)
        isReceiving = true
        loop.receive(socket, into: buffer, count: count, waitForAll: waitForAll, receiveOperation)
    }

    /// Sends what waits, as far as the socket takes it; the rest follows by itself.
    /// - Returns: false where the connection has broken.
    func flush() -> Bool {
        guard !isSending, !isHungUp else { return true }
        guard replies.sendNow(socket) == 0 else { return false }
        if let part = replies.firstPart {
            isSending = true
            loop.send(socket, from: part.base, count: min(ServerLimits.step, part.count), sendOperation)
        }
        return true
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
        Glibc.close(socket)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result > 0 { hasMoved = true }
        if operation == receiveOperation {
            isReceiving = false
            session.received(result)
        } else {
            isSending = false
            sent(result)
        }
    }

    private func sent(_ result: Int32) {
        guard !isHungUp else {
            replies.discard()
            return session.sent(isBroken: false)
        }
        guard result > 0 || result == -EINTR || result == -EAGAIN else { return session.sent(isBroken: true) }
        if result > 0 { replies.didSend(Int(result)) }
        session.sent(isBroken: !flush())
    }
}
