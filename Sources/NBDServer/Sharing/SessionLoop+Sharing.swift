import Block
import Ring

/// The way of sessions between loops (`LoopSharing`). A session is at one loop at a time. `MoveGate` tells when one is between
/// two loops.
extension SessionLoop {
    /// Nanoseconds in which two loops measure their load after a move, wholly.
    private static let restNanoseconds = 3 * LoopLoad.period

    /// Shares the sessions after each measurement of the loop's load.
    func shareWhenReviewed() {
        loop.whenReviewed { [weak self] in self?.shareSessions() }
    }

    /// Gives sessions to other loops if the last measurement calls for it.
    private func shareSessions() {
        let now = WritePace.now()
        let list = Array(sessions.values)
        let works = list.map { $0.consumeWork() }
        let active = works.filter { $0.receives > 0 }
        if !active.isEmpty { loop.setTurns(short: !active.allSatisfy(\.isPipelined)) }
        let busy = loop.load.busy
        tell(hasLong: works.contains(where: \.isLong))
        guard all.count > 1, let own = all.firstIndex(where: { $0 === self }) else { return }
        let cores = LoopSharing.needsCores(busy: busy) ? idleCores.current(at: now) : nil
        let view = LoopSharing.View(own: own, loops: all.map { $0.state(at: now) }, works: works, cores: cores)
        switch sharing.decide(view, at: now) {
        case .stay: break
        case .merge(let numbers, let target): give(numbers.map { list[$0] }, to: all[target], isSpread: false, at: now)
        case .spread(let numbers, let target): give(numbers.map { list[$0] }, to: all[target], isSpread: true, at: now)
        }
    }

    /// Marks sessions to move, unless this loop or the other one has just taken part in another move.
    private func give(_ sessions: [Session], to target: SessionLoop, isSpread: Bool, at now: UInt64) {
        guard LoopRest.claim(rest, target.rest, at: now, for: Self.restNanoseconds) else { return }
        let deadline = now + LoopLoad.period
        for session in sessions {
            session.move(SessionMove(target: target, deadline: deadline, isSpread: isSpread))
        }
    }

    /// Passes a quiet session on.
    /// - Returns: false if it stays, since loops are being asked about their sessions.
    func pass(_ session: Session, _ move: SessionMove) -> Bool {
        guard gate.begin() else { return false }
        let target = move.target
        if move.isSpread, lastSpread != move.deadline {
            // Sessions of one decision have one deadline.
            lastSpread = move.deadline
            sharing.didSpread(at: WritePace.now())
        }
        // The work holds the session from here on; the table gives up its reference below.
        let adopt: EventLoop.Work = { target.adopt(session) }
        sessions[ObjectIdentifier(session)] = nil
        session.change(to: target)
        target.loop.post(adopt)
        return true
    }

    private func adopt(_ session: Session) {
        sessions[ObjectIdentifier(session)] = session
        gate.end()
        session.arrive()
    }

    /// Returns when no session is between two loops. The caller has called `hold`.
    func settle() async {
        await withCheckedContinuation { continuation in
            loop.post { [self] in whenInPlace { continuation.resume() } }
        }
    }

    /// Waits until no session is between two loops and none can begin to move, then calls `done` on this loop. The caller
    /// has called `hold`.
    func whenInPlace(_ done: @escaping @Sendable () -> Void) {
        if gate.isClear { return done() }
        // A loop that began a move before the hold has posted it to the new loop by the time it has run this.
        let rest = LoopCountdown(all.count, then: done)
        for other in all {
            other.loop.post { [loop] in loop.post { rest.countDown() } }
        }
    }
}
