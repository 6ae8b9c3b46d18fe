import Block
import NBD

/// The way of a session from one loop to another.
///
/// 1. `move` marks it. At the end of a batch in which nothing of it is in flight, it moves. Otherwise it goes on, and
///    receives as usual.
/// 2. `change` makes everything the new loop's, which then takes it over.
extension Session {
    /// Marks the session to move, unless it has not chosen its export or is about to end.
    func move(_ move: SessionMove) {
        guard export != nil, !isStopping, !isAtEnd, move.target !== owner else { return }
        pendingMove = move
    }

    /// Whether the session could move once its replies are sent: its next bytes are a request's, and none is in flight.
    var isBetweenRequests: Bool {
        isAtHeader && !isStopping && !isAtEnd && !awaitsTurn && slots!.inFlight == 0 && buffers.bytes == 0
            && buffers.line == nil && !(large?.isActive ?? false)
    }

    /// Moves the session if it is marked and nothing of it is in flight. The loop's thread must not touch it afterwards.
    /// - Returns: whether it has moved.
    func moveIfQuiet() -> Bool {
        guard let move = pendingMove else { return false }
        guard move.deadline > WritePace.now() else {
            pendingMove = nil
            return false
        }
        guard isBetweenRequests, stream.isIdle, !awaitsBatchEnd else {
            // A client that reads nothing must not keep the session from receiving.
            if stream.isSending { pendingMove = nil }
            return false
        }
        pendingMove = nil
        return owner.pass(self, move)
    }

    /// Makes everything that the session has of its loop the loop's of `owner`; nothing may be in flight.
    func change(to owner: SessionLoop) {
        precondition(isBetweenRequests && stream.isIdle && !awaitsBatchEnd)
        large = nil
        stream.move(to: owner)
        buffers = SessionBuffers(pool: owner.pool)
        let port = export!.disk.port(on: owner.loop)
        slots = RequestSlots(
            count: ServerLimits.requestsPerConnection, owner: self, port: port, isSynchronous: export!.isSynchronous)
        tally = export!.tallies?.tally(of: owner.loop.index)
        belong(to: owner, port: port)
    }

    /// Goes on at the new loop, on its thread.
    func arrive() {
        // Requests that are decrypted or parsed from here on begin now, and not when the loop last looked at the clock.
        noteTime()
        proceed()
    }

    /// Returns the work since the last call.
    func consumeWork() -> SessionWork {
        var work = stream.work
        work.requests = requestsTaken
        defer { toldWork = work }
        return work.since(toldWork)
    }
}
