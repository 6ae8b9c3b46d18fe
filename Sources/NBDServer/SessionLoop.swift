import Glibc
import Ring

/// The sessions of one event loop and what they share. Used on the loop's thread.
final class SessionLoop: @unchecked Sendable {
    let loop: EventLoop
    /// For the data of requests.
    let pool: BufferPool
    /// For small replies. Every connection can have its region, so this pool never runs out.
    let replyRegions: BufferPool
    private var sessions: [ObjectIdentifier: Session] = [:]
    private var whenEmpty: (() -> Void)?

    init(loop: EventLoop) {
        self.loop = loop
        pool = BufferPool(loop: loop, limit: ServerLimits.buffersPerLoop, kept: ServerLimits.keptBuffersPerLoop)
        replyRegions = BufferPool(
            loop: loop, limit: ServerLimits.connections * ServerLimits.replies, kept: ServerLimits.keptBuffersPerLoop)
    }

    /// Takes over an accepted socket.
    func open(_ socket: CInt, exports: ExportTable, onClose: @escaping @Sendable () -> Void) {
        let session = Session(socket: socket, owner: self, exports: exports, onClose: onClose)
        sessions[ObjectIdentifier(session)] = session
        session.begin()
    }

    /// Called by a session that holds nothing any more. It may still be on the stack, so it lives a moment longer.
    func didClose(_ session: Session) {
        let id = ObjectIdentifier(session)
        loop.post { [self] in
            sessions[id] = nil
            reportIfEmpty()
        }
    }

    /// Lets every session finish the requests it has and close; `done` is called once the last is gone.
    func drain(done: @escaping () -> Void) {
        whenEmpty = done
        for session in sessions.values { session.drain() }
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
