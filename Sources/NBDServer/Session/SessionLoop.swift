import Glibc
import Ring

/// The sessions of one event loop and what they share. Used on the loop's thread.
final class SessionLoop: @unchecked Sendable {
    let loop: EventLoop
    /// For the data of requests.
    let pool: BufferPool
    /// For small replies. Every connection can have its region, so this pool never runs out.
    let replyRegions: BufferPool
    /// All loops of the server, this one included; set before the first client comes.
    var all: [SessionLoop] = []
    private var sessions: [ObjectIdentifier: Session] = [:]
    private let stallTimer: LoopTimer
    private let handshakeTimer: LoopTimer
    private var whenEmpty: (() -> Void)?

    init(loop: EventLoop) {
        self.loop = loop
        stallTimer = LoopTimer(loop: loop)
        handshakeTimer = LoopTimer(loop: loop)
        pool = BufferPool(loop: loop, limits: BufferShare.limits, kept: ServerLimits.keptBuffersPerLoop)
        replyRegions = BufferPool(
            loop: loop, limit: ServerLimits.connections * ServerLimits.replies, kept: ServerLimits.keptBuffersPerLoop)
    }

    /// Takes over an accepted socket.
    func open(_ socket: CInt, exports: ExportTable, tls: ServerTLS?, onClose: @escaping @Sendable () -> Void) {
        let session = Session(socket: socket, owner: self, exports: exports, tls: tls, onClose: onClose)
        sessions[ObjectIdentifier(session)] = session
        session.begin()
        watchHandshakes()
    }

    /// As long as somebody has not chosen an export, those that take for ever about it are let go: they hold one of the
    /// server's connections for nothing.
    private func watchHandshakes() {
        guard !handshakeTimer.isArmed else { return }
        handshakeTimer.arm(seconds: ServerLimits.handshake) { [self] in
            let slow = sessions.values.filter(\.isNegotiating)
            for session in slow { session.noteSlowHandshake() }
            if !slow.isEmpty { watchHandshakes() }
        }
    }

    /// Called by a session that holds nothing any more. It may still be on the stack, so it lives a moment longer.
    func didClose(_ session: Session) {
        let id = ObjectIdentifier(session)
        loop.post { [self] in
            sessions[id] = nil
            reportIfEmpty()
        }
    }

    /// Called when somebody has to wait for a buffer: as long as somebody does, clients that hold buffers of the same share
    /// and neither send nor take anything are let go, and large requests go on in pieces, so that nobody waits for ever.
    func watchForStalls() {
        guard !stallTimer.isArmed else { return }
        for session in sessions.values { session.beginStallWatch() }
        stallTimer.arm(seconds: ServerLimits.stall) { [self] in
            guard pool.isShort else { return }
            for session in sessions.values where session.hasStalled { session.hangUp() }
            for session in sessions.values { session.noteLongWait() }
            if pool.isShort { watchForStalls() }
        }
    }

    /// Calls `done`, on this loop, once no request is in flight any more of connections to `export` whose clients have
    /// given them up, on any loop: a client that comes back must find nothing of its old connection land after what it
    /// asks for now (invariant 9). The newcomer itself may have said goodbye already, and is heard out all the same.
    func finishGivenUp(on export: Export, for newcomer: Session, done: @escaping @Sendable () -> Void) {
        let rest = LoopCountdown(all.count, then: done)
        for other in all {
            other.loop.post { [loop] in
                other.whenGivenUpAreQuiet(on: export, except: newcomer) { loop.post { rest.countDown() } }
            }
        }
    }

    private func whenGivenUpAreQuiet(
        on export: Export, except newcomer: Session, done: @escaping @Sendable () -> Void
    ) {
        let givenUp = sessions.values.filter { $0 !== newcomer && $0.isGivenUp(on: export) }
        let rest = LoopCountdown(givenUp.count, then: done)
        for session in givenUp { session.drain { rest.countDown() } }
    }

    /// Lets every session finish the requests it has and close; `done` is called once the last is gone.
    func drain(done: @escaping () -> Void) {
        whenEmpty = done
        for session in sessions.values { session.drain {} }
        reportIfEmpty()
    }

    /// Closes what is left whether its replies went out or not.
    func abandon() {
        for session in sessions.values { session.hangUp() }
    }

    private func reportIfEmpty() {
        guard sessions.isEmpty, let done = whenEmpty else { return }
        whenEmpty = nil
        done()
    }
}
