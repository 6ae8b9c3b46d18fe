import CLibNBD
import Dispatch
import Glibc
import Ring

/// One connection to another NBD server, on one loop.
///
/// 1. `start` takes requests; at the end of the loop's turn their commands are sent, one after the other for each request.
/// 2. A lost connection is made again (`NBDClientReconnector`), and unanswered commands are sent again.
/// 3. `stop` ends all requests.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class NBDClientConnection: RingHandler, @unchecked Sendable {
    /// Seconds from the time when a command had no connection first until its request fails.
    private static let retrySeconds = Double(NBDClientReconnector.limitSeconds)

    let loop: EventLoop
    /// The memory of all commands.
    let commands = NBDClientCommands()
    private let reconnector: NBDClientReconnector
    private let traits: NBDClientTraits
    private let durability: NBDClientDurability
    private let report: @Sendable (String) -> Void
    /// The size that was reported last; nil if the server has always shown the same disk.
    private var reportedSize: UInt64?
    /// The connection; nil while it is lost.
    private var transmission: NBDClientTransmission?
    /// The lost connection, on which the server may still work.
    private var closing: ClosingSocket?
    private var inFlight = 0
    /// Requests that came in this turn of the loop.
    private var started: [UnsafeMutablePointer<NBDClientCommand>] = []
    private var endedCommands: [UnsafeMutablePointer<NBDClientCommand>] = []
    /// Commands that wait for a connection.
    private var waiting: [UnsafeMutablePointer<NBDClientCommand>] = []
    /// Whether `stop` was called.
    private var isStopped = false
    /// This object, while the loop is to call `batchEnded`: the loop does not retain it.
    private var keptUntilBatchEnd: NBDClientConnection?

    init(
        uri: String, link: NBDClientLink, loop: EventLoop, durability: NBDClientDurability,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.report = report
        reconnector = NBDClientReconnector(uri: uri, loop: loop)
        self.loop = loop
        self.durability = durability
        traits = link.traits
        super.init()
        transmission = .make(link, self)
    }

    /// Takes a request, on the loop's thread. It ends later in the loop's turn at the earliest.
    func start(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        started.append(commands.take(request, .passUnretained(port), .passUnretained(self)))
        proceedAtBatchEnd()
    }

    /// Calls `proceed` at the end of the loop's turn, so that all commands of the turn leave together.
    func proceedAtBatchEnd() {
        guard keptUntilBatchEnd == nil else { return }
        keptUntilBatchEnd = self
        loop.atBatchEnd(self)
    }

    override func batchEnded() {
        let kept = keptUntilBatchEnd
        keptUntilBatchEnd = nil
        proceed()
        withExtendedLifetime(kept) {}
    }

    /// Waits for the server even without requests, so that its end is detected at once. On the loop's thread.
    func watch() { proceed() }

    /// Ends every request, now and from now on, with ESHUTDOWN: a server that does not answer must not delay the node's
    /// end. On the loop's thread.
    func stop() {
        isStopped = true
        // Commands in flight end as on a lost connection; libnbd would forget them if it closed the handle itself.
        if inFlight > 0 { transmission?.hangUp() } else { transmission?.leave() }
        proceed()
    }

    /// Collects an ended command. A transmission may be at work, so `proceed` handles the command later.
    func ended(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        command.pointee.state = .idle
        endedCommands.append(command)
    }

    /// Does all that can be done now, until only the server or a new connection can bring more.
    func proceed() {
        repeat {
            beginStarted()
            if transmission?.isBroken ?? false { lose() }
            completeEnded()
            transmission?.proceed()
        } while !started.isEmpty || !endedCommands.isEmpty || transmission?.isBroken ?? false
        if transmission == nil, !waiting.isEmpty { if isStopped { giveUpWaiting(ESHUTDOWN) } else { reconnect() } }
    }

    private func beginStarted() {
        // More may come while these begin.
        var next = 0
        while next < started.count {
            let command = started[next]
            next += 1
            begin(command)
        }
        started.removeAll(keepingCapacity: true)
    }

    private func begin(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        let request = command.pointee.request
        if durability.forcesChanges, request.pointee.kind.isChange { request.pointee.isForcedUnitAccess = true }
        if let error = traits.answerWithoutServer(request) { return finish(command, error) }
        command.pointee.startOver(traits, durability)
        issue(command)
    }

    private func completeEnded() {
        var next = 0
        while next < endedCommands.count {
            let command = endedCommands[next]
            next += 1
            complete(command)
        }
        endedCommands.removeAll(keepingCapacity: true)
    }

    // MARK: Commands

    /// Sends the next command of a request, or keeps it until there is a connection.
    private func issue(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        guard !isStopped else { return finish(command, ESHUTDOWN) }
        guard !durability.refuses else { return finish(command, EIO) }
        guard let transmission else { return wait(command) }
        inFlight += 1
        guard !transmission.begin(command, command.pointee.next(traits, durability)) else { return }
        inFlight -= 1
        wait(command)
    }

    private func wait(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        command.pointee.lostAt = command.pointee.lostAt ?? .now()
        waiting.append(command)
    }

    /// Ends or continues the request of an ended command.
    private func complete(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        inFlight -= 1
        let request = command.pointee.request
        guard transmission != nil || command.pointee.error == 0 else {
            // The connection was lost before the acknowledgement, so the request is sent again on the next one.
            return sendAgain(command)
        }
        if command.pointee.error == ESHUTDOWN, !isStopped {
            // The server answers its last requests so before it ends; its successor may carry them out.
            transmission?.hangUp()
            return sendAgain(command)
        }
        guard command.pointee.error == 0 else {
            // The server may have dropped the writes of others, too.
            if makesDurable(command) { durability.recordLoss() }
            return finish(command, command.pointee.error)
        }
        if isFlush(command) {
            durability.endFlush(covering: command.pointee.flushMark)
            return finish(command, 0)
        }
        request.pointee.progress += Int(command.pointee.piece)
        // The answer to a status may cover less than the request.
        if request.pointee.progress < Int(request.pointee.length), request.pointee.kind != .status {
            return issue(command)
        }
        if traits.mustFlush(request) {
            // The client has no answer yet: if the connection is lost first, the change is sent again.
            request.pointee.stage = .makeDurable
            return issue(command)
        }
        if request.pointee.kind.isChange, !traits.makesDurable(request) {
            durability.recordWrite(begunIn: command.pointee.begunIn)
        }
        // A server without a usable answer leaves everything data: the client's request needs an extent.
        if request.pointee.kind == .status, request.pointee.extentCount == 0 { request.pointee.addAllData() }
        finish(command, 0)
    }

    private func isFlush(_ command: UnsafeMutablePointer<NBDClientCommand>) -> Bool {
        let request = command.pointee.request
        return request.pointee.stage == .makeDurable || request.pointee.kind == .flush
    }

    /// Whether the command is to make something durable.
    private func makesDurable(_ command: UnsafeMutablePointer<NBDClientCommand>) -> Bool {
        isFlush(command) || traits.makesDurable(command.pointee.request)
    }

    /// Repeats a request for a while: a server that closes the connection at this very command would always do so.
    private func sendAgain(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        // A server that goes on may have failed to make writes durable, and tells it once.
        if makesDurable(command) { durability.recordLoss() }
        if let lostAt = command.pointee.lostAt, lostAt + Self.retrySeconds <= .now() { return finish(command, EIO) }
        wait(command)
    }

    private func finish(_ command: UnsafeMutablePointer<NBDClientCommand>, _ error: CInt) {
        let request = command.pointee.request
        // The owner that is called may let go of the disk.
        let port = command.pointee.port.takeUnretainedValue()
        commands.give(command)
        guard port.loop === loop else { return PendingRequest(request: request, port: port).finish(error: error) }
        request.pointee.error = error
        port.ended(request)
    }

    // MARK: The connection

    private func lose() {
        // Answered writes are recorded before the loss. An error from a server that is gone is no answer.
        let failed = endedCommands.filter { $0.pointee.error != 0 }
        endedCommands.removeAll { $0.pointee.error != 0 }
        completeEnded()
        endedCommands = failed + endedCommands
        let lost = transmission
        transmission = nil
        durability.recordLostConnection()
        let closing = lost?.close()
        self.closing = isStopped ? nil : closing
    }

    private func reconnect() {
        let first = waiting.compactMap(\.pointee.lostAt).min() ?? .now()
        reconnector.connect(after: closing, until: first + Self.retrySeconds) { [self] in adopt($0) }
    }

    /// Continues on a new connection; nil if there is none.
    private func adopt(_ found: NBDClientLink?) {
        if let found, found.traits == traits, !isStopped {
            let commands = waiting
            waiting = []
            transmission = .make(found, self)
            closing = nil
            for command in commands {
                command.pointee.startOver(traits, durability)
                issue(command)
            }
            return proceed()
        }
        if let found { refuse(found) }
        guard found == nil, !isStopped else { return giveUpWaiting(isStopped ? ESHUTDOWN : EIO) }
        // It was waited for long enough.
        closing = nil
        // Requests that came later have time left.
        let limit = DispatchTime.now() - Self.retrySeconds
        giveUpWaiting(EIO) { $0.pointee.lostAt! <= limit }
        proceed()
    }

    private func refuse(_ found: NBDClientLink) {
        nbd_close(found.handle)
        guard found.traits != traits, reportedSize != found.traits.size else { return }
        reportedSize = found.traits.size
        report("\(found.traits.difference(from: traits)); requests fail until it shows the first one again")
    }

    private func giveUpWaiting(
        _ error: CInt, where isOver: (UnsafeMutablePointer<NBDClientCommand>) -> Bool = { _ in true }
    ) {
        let commands = waiting.filter(isOver)
        waiting.removeAll(where: isOver)
        for command in commands { finish(command, error) }
    }
}
