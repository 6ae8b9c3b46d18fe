import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// Redirects a link whose disk has moved on from the destination. Requests go to the node that has the disk once none of them
/// can be on its way through the destination (invariant 9).
///
/// 1. Once its own successor has everything, the destination introduces the nodes that forward to it (`introduce`), and names
/// the successor to them (`heard`).
/// 2. `SuccessorSearch` says when the successor is tried. It must let this link's migration in.
/// 3. Requests are held back until a flush behind all others has been answered through the destination.
/// 4. The record of the disk is redirected, durably.
/// 5. Only then do requests go to the successor. A failure before step 4 leaves all as it was, and status says that the
/// destination is needed.
extension ForwardLink {
    /// The migrations by which others forward to this node, and the callback for when the destination has recorded them.
    struct Introduction: Sendable {
        let migrations: [MigrationID]
        let heard: @Sendable (Successor) -> Void
    }

    /// The time limit for a successor to say whether it knows the disk.
    private static let patience = Duration.seconds(10)
    /// The attempts to write a record again whose contents are in doubt.
    private static let recordInterval = Duration.seconds(1)

    /// Whether it takes further requests.
    var isInUse: Bool { state.withLockedValue { !$0.isRetired && !$0.isStopped } }

    // MARK: Nodes that forward to this one

    /// Asks the destination, now and on each later connection, to let in the nodes that forward to this one.
    /// - Parameter heard: called with a destination whenever that has recorded them durably.
    func introduce(_ migrations: [MigrationID], heard: @escaping @Sendable (Successor) -> Void) {
        let migrations = Array(migrations.prefix(OfferLimits.maximumAliases))
        let connection = state.withLockedValue { state in
            state.introduction = Introduction(migrations: migrations, heard: heard)
            return state.takesIntroductions ? state.connection : nil
        }
        if let connection { Task { try? await connection.send(Message.introduce(migrations).encoded()) } }
    }

    func introduced(at destination: PeerAddress) {
        let (introduction, mayRepeat) = state.withLockedValue { ($0.introduction, $0.requests.mayRepeat) }
        introduction?.heard(Successor(address: destination, mayRepeat: mayRepeat))
    }

    // MARK: The destination's successor

    /// Begins to search for the successor that the destination has named.
    func heard(_ successor: Successor, from destination: PeerAddress) {
        state.withLockedValue { state in
            guard records != nil, state.isCommitted, !state.isStopped, !state.isRetired,
                state.destination == destination, state.search.heard(successor, from: destination)
            else { return }
            if state.searchSleeps {
                state.searching?.cancel()
                state.searching = nil
                state.searchSleeps = false
            }
            if state.searching == nil { state.searching = Task { [self] in await search() } }
        }
    }

    private func search() async {
        while let (successor, destination) = await nextAttempt() {
            let reason: String
            do {
                guard let problem = try await attempt(successor, from: destination) else { continue }
                reason = problem
            } catch {
                reason = error.plainReason
            }
            let isNew = state.withLockedValue {
                $0.search.failed(reason, for: successor, at: .now) && !$0.isStopped && !$0.isRetired
            }
            guard isNew else { continue }
            logger.notice(
                "\(export) is at \(successor.address), but forwarded through \(destination) as before: \(reason)")
        }
    }

    /// Waits until an attempt is due; nil if none is to follow.
    private func nextAttempt() async -> (Successor, PeerAddress)? {
        let wait = state.withLockedValue { state -> Duration? in
            let wait = state.isStopped || state.isRetired ? nil : state.search.wait(at: .now)
            if wait == nil, !Task.isCancelled { state.searching = nil }
            state.searchSleeps = wait != nil && !Task.isCancelled
            return wait
        }
        guard let wait else { return nil }
        try? await Task.sleep(for: wait)
        return state.withLockedValue { state in
            // Another search has taken the place of this one.
            guard !Task.isCancelled else { return nil }
            state.searchSleeps = false
            state.search.began(at: .now)
            return state.search.target.map { ($0, state.destination) }
        }
    }

    /// - Returns: the reason for a failure; nil if the link goes to the successor now.
    private func attempt(_ successor: Successor, from destination: PeerAddress) async throws -> String? {
        if let problem = successor.problem(from: destination) { return problem }
        guard let records, try records.mayRedirect(migration) else {
            return "\(destination) has not said yet that it needs nothing of this node"
        }
        try await ask(successor)
        guard await leave(destination) else { return "\(destination) has not answered everything" }
        return try await redirect(to: successor, records) ? nil : "the disk is on its way back"
    }

    /// Asks a successor whether it serves the disk and lets this link in.
    /// - Throws: the reason if it does not.
    private func ask(_ successor: Successor) async throws {
        try await PeerConnection.connect(to: successor.address, on: transport) { [export, migration] connection in
            let timeout = IdleTimeout(Self.patience, for: connection)
            defer { timeout.end() }
            var frames = connection.inbound.makeAsyncIterator()
            let hello = Hello(purpose: .forward, migration: migration, isCommitted: true, export: export)
            let welcome = try await connection.greet(hello, &frames)
            _ = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
        }
    }

    /// Holds requests back until all that was sent to the destination has been answered.
    /// - Returns: false if that failed; requests then go on to the destination.
    private func leave(_ destination: PeerAddress) async -> Bool {
        let connection = state.withLockedValue { state -> PeerConnection? in
            guard !state.isStopped, !state.isRetired, state.destination == destination,
                let connection = state.connection, state.requests.leave()
            else { return nil }
            return connection
        }
        guard let connection else { return false }
        if let flush = state.withLockedValue({ $0.requests.lastFlushIfDue() }) {
            do { try await connection.send(Message.request(flush).encoded()) } catch { connection.close() }
        }
        // If the connection is cut, the queue stays with its destination.
        await state.wait { $0.requests.hasLeft || !$0.requests.isLeaving || $0.isStopped }
        return state.withLockedValue { $0.requests.hasLeft && !$0.isStopped }
    }

    /// Switches to the successor: nothing is on its way any more.
    /// - Returns: false if the link stays with its destination.
    private func redirect(to successor: Successor, _ records: SourceRecords) async throws -> Bool {
        let old = destination
        guard await record(successor, records) else {
            stay()
            return false
        }
        state.withLockedValue { state in
            state.requests.move(mayRepeat: successor.mayRepeat)
            state.destination = successor.address
            state.problem = nil
            state.search.succeeded()
            state.connection?.close()
        }
        logger.notice(
            "\(export): clients are forwarded to \(successor.address) directly; \(old) is not needed for that")
        return true
    }

    private func stay() {
        state.withLockedValue { state in
            state.requests.stay()
            state.connection?.close()
        }
    }

    /// Records durably where requests go from now on.
    /// - Returns: false if the record names the destination for certain.
    private func record(_ successor: Successor, _ records: SourceRecords) async -> Bool {
        while true {
            do {
                return try records.redirect(migration, to: successor.address)
            } catch {
                logger.warning("\(export) can't be noted to be at \(successor.address): \(error)")
            }
            // A later life of this node must go where this one goes: either is right, but not both.
            if let record = try? records.moved(), record.destination != successor.address { return false }
            guard isInUse else { return false }
            try? await Task.sleep(for: Self.recordInterval)
        }
    }
}

extension ForwardLink.State {
    /// The reason why requests go through the destination though another node has the disk.
    var detour: String? {
        guard let successor = search.target, let problem = search.problem else { return nil }
        return "\(destination) is needed to reach \(successor.address), where the disk is: \(problem)"
    }
}
