import Glibc
import Ring
import Synchronization

/// The sessions of one event loop and the resources they share. Used on the loop's thread.
final class SessionLoop: @unchecked Sendable {
    let loop: EventLoop
    /// Buffers for the data of requests.
    let pool: BufferPool
    /// Regions for small replies. The limit allows one for every connection, so this pool never runs out.
    let replyRegions: BufferPool
    /// All loops of the server, including this one; set before the first client comes.
    var all: [SessionLoop] = []
    var sessions: [ObjectIdentifier: Session] = [:] {
        didSet { sessionCount.store(sessions.count, ordering: .relaxed) }
    }
    private let sessionCount = Atomic<Int>(0)
    /// Keeps sessions in place; the same for all loops of the server.
    let gate: MoveGate
    /// The cores of all loops of the server.
    let idleCores: IdleCores
    let rest = LoopRest()
    var sharing = LoopSharing()
    /// The deadline of the last decision for which `sharing` knows that sessions have left.
    var lastSpread: UInt64 = 0
    private let hasLong = Atomic<Bool>(false)
    private let stallTimer: LoopTimer
    private let handshakeTimer: LoopTimer
    private var whenEmpty: (() -> Void)?
    /// The end of the request that ended last on the loop, or a later receive, in nanoseconds: the start of the next one.
    /// Only while requests are counted.
    var lastTime: UInt64 = 0

    init(loop: EventLoop, gate: MoveGate, idleCores: IdleCores) {
        self.loop = loop
        self.gate = gate
        self.idleCores = idleCores
        stallTimer = LoopTimer(loop: loop)
        handshakeTimer = LoopTimer(loop: loop)
        pool = BufferPool(loop: loop, limits: BufferShare.limits, kept: ServerLimits.keptBuffersPerLoop)
        replyRegions = BufferPool(
            loop: loop, limit: ServerLimits.connections * ServerLimits.replies, kept: ServerLimits.keptBuffersPerLoop)
    }

    /// The loop as others see it at `now`, in nanoseconds of the monotonic clock. Any thread may call.
    func state(at now: UInt64) -> LoopState {
        LoopState(
            busy: loop.load.busy, isLong: hasLong.load(ordering: .relaxed),
            sessions: sessionCount.load(ordering: .relaxed), isShort: pool.isShortForOthers,
            isResting: rest.isResting(at: now))
    }

    /// Lets other loops know what the sessions are like.
    func tell(hasLong: Bool) { self.hasLong.store(hasLong, ordering: .relaxed) }

    /// Takes over an accepted socket.
    func open(
        _ socket: CInt, exports: ExportTable, tls: ServerTLS?, visit: ClientVisit,
        onClose: @escaping @Sendable () -> Void
    ) {
        let session = Session(
            socket: socket, owner: self, exports: exports, tls: tls, visit: visit, onClose: onClose)
        sessions[ObjectIdentifier(session)] = session
        session.begin()
        watchHandshakes()
    }

    /// Disconnects negotiating clients that make no progress, since each occupies one of the server's connections.
    private func watchHandshakes() {
        guard !handshakeTimer.isArmed else { return }
        handshakeTimer.arm(seconds: ServerLimits.handshake) { [self] in
            let slow = sessions.values.filter(\.isNegotiating)
            for session in slow { session.checkHandshakePace() }
            if !slow.isEmpty { watchHandshakes() }
        }
    }

    /// Removes a session that holds nothing any more. The session may still be on the stack, so it is released later.
    func didClose(_ session: Session) {
        let id = ObjectIdentifier(session)
        loop.post { [self] in
            sessions[id] = nil
            reportIfEmpty()
        }
    }

    /// Starts watching for stalls when a session has to wait for a buffer. As long as a session waits, clients that
    /// hold awaited buffers without moving bytes are disconnected, and large requests continue in small pieces.
    func watchForStalls() {
        guard !stallTimer.isArmed else { return }
        for session in sessions.values { session.beginStallWatch() }
        stallTimer.arm(seconds: ServerLimits.stall) { [self] in
            guard pool.isShort else { return }
            for session in sessions.values where session.hasStalled { session.hangUp(.stalled) }
            for session in sessions.values { session.endLongWait() }
            if pool.isShort { watchForStalls() }
        }
    }

    /// Waits until requests of given-up connections to `export` have ended on every loop, then calls `done` on this
    /// loop (invariant 9). Otherwise a returning client could see an old write land after its new requests. The
    /// newcomer itself is not waited for, even if it has already sent DISCONNECT: its requests are still served.
    func finishGivenUp(on export: Export, for newcomer: Session, done: @escaping @Sendable () -> Void) {
        gate.hold()
        whenInPlace { [self] in askForGivenUp(on: export, except: newcomer, done: done) }
    }

    /// Asks every loop; no session is between two loops meanwhile. One that has been found does not move any more.
    private func askForGivenUp(
        on export: Export, except newcomer: Session, done: @escaping @Sendable () -> Void
    ) {
        // The newcomer goes on only after the release, so that its own session may move from its first request on.
        let rest = LoopCountdown(all.count + 1, then: done)
        let asked = LoopCountdown(all.count) { [gate] in
            gate.release()
            rest.countDown()
        }
        for other in all {
            other.loop.post { [loop] in
                other.whenGivenUpAreQuiet(on: export, except: newcomer) { loop.post { rest.countDown() } }
                loop.post { asked.countDown() }
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

    /// Lets every session finish its requests and close; `done` is called when the last is gone.
    func drain(done: @escaping () -> Void) {
        whenEmpty = done
        for session in sessions.values { session.drain {} }
        reportIfEmpty()
    }

    /// Closes the remaining sessions, whether or not their replies are sent.
    func abandon() {
        for session in sessions.values { session.hangUp(.drained) }
    }

    private func reportIfEmpty() {
        guard sessions.isEmpty, let done = whenEmpty else { return }
        whenEmpty = nil
        done()
    }
}
