import CLibNBD
import Dispatch
import Glibc
import Ring

/// One connection to another NBD server, on one loop. The ring polls for the events that libnbd waits for.
///
/// 1. `start` sends a request's commands, one after the other.
/// 2. A lost connection is made again (`NBDClientReconnector`), and unanswered commands are sent again.
/// 3. `stop` ends all requests.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class NBDClientConnection: RingHandler, @unchecked Sendable {
    /// Seconds from the first loss of a command's connection until its request fails.
    private static let retrySeconds = 30.0

    let loop: EventLoop
    private let reconnector: NBDClientReconnector
    private let traits: NBDClientTraits
    private let durability: NBDClientDurability
    private let report: @Sendable (String) -> Void
    /// The size that was reported last; nil if the server has always shown the same disk.
    private var reportedSize: UInt64?
    private let operation: UnsafeMutablePointer<RingOperation>
    /// The connection; nil while it is lost.
    private var link: NBDClientLink?
    private var inFlight = 0
    private var endedCommands: [NBDClientCommand] = []
    /// Commands that wait for a connection.
    private var waiting: [NBDClientCommand] = []
    /// Whether `stop` was called.
    private var isStopped = false
    /// The events of the poll in flight; 0 if there is none.
    private var polled: UInt32 = 0

    init(
        uri: String, link: NBDClientLink, loop: EventLoop, durability: NBDClientDurability,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.report = report
        reconnector = NBDClientReconnector(uri: uri, loop: loop)
        self.link = link
        self.loop = loop
        self.durability = durability
        traits = link.traits
        operation = .allocate(capacity: 1)
        super.init()
        operation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        operation.deallocate()
        guard let link else { return }
        // DISCONNECT has no answer to wait for.
        nbd_aio_disconnect(link.handle, 0)
        nbd_close(link.handle)
    }

    /// Begins a request, on the loop's thread.
    func start(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        if durability.forcesChanges, request.pointee.kind.isChange { request.pointee.isForcedUnitAccess = true }
        let command = NBDClientCommand(request, port, on: self)
        if let error = traits.answerWithoutServer(request) { return finish(command, error) }
        if request.pointee.kind == .writeZeroes, !traits.canZero { request.pointee.stage = .zeroFill }
        issue(command)
        proceed()
    }

    /// Polls even without requests, so that the end of the server is detected at once. On the loop's thread.
    func watch() { proceed() }

    /// Ends every request, now and from now on, with ESHUTDOWN: a server that does not answer must not delay the node's
    /// end. On the loop's thread.
    func stop() {
        isStopped = true
        // Commands in flight end as on a lost connection; libnbd would forget them if it closed the handle itself.
        if let link, inFlight > 0 { shutdown(nbd_aio_get_fd(link.handle), CInt(SHUT_RDWR)) }
        if inFlight == 0, polled != 0 { loop.cancel(operation) }
        proceed()
    }

    /// Collects an ended command. libnbd calls this under its lock, so `proceed` handles the command later.
    func ended(_ command: NBDClientCommand) {
        endedCommands.append(command)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        let handler = operation.pointee.handler
        polled = 0
        if let link, result > 0 {
            let events = UInt32(result)
            let direction = nbd_aio_get_direction(link.handle)
            if direction & UInt32(LIBNBD_AIO_DIRECTION_READ) != 0, events & UInt32(POLLIN | POLLHUP | POLLERR) != 0 {
                nbd_aio_notify_read(link.handle)
            } else if direction & UInt32(LIBNBD_AIO_DIRECTION_WRITE) != 0 {
                nbd_aio_notify_write(link.handle)
            }
        }
        proceed()
        handler.release()
    }

    private func proceed() {
        while !endedCommands.isEmpty || link?.isBroken ?? false {
            if link?.isBroken ?? false {
                // Answered writes are recorded before the loss.
                complete(removeEnded { $0.error == 0 })
                lose()
            }
            complete(removeEnded { _ in true })
        }
        if link == nil, !waiting.isEmpty { if isStopped { giveUpWaiting(ESHUTDOWN) } else { reconnect() } }
        poll()
    }

    private func removeEnded(where isRemoved: (NBDClientCommand) -> Bool) -> [NBDClientCommand] {
        let removed = endedCommands.filter(isRemoved)
        endedCommands.removeAll(where: isRemoved)
        return removed
    }

    private func complete(_ commands: [NBDClientCommand]) {
        for command in commands { complete(command) }
    }

    // MARK: Commands

    /// Sends the next command of a request, or keeps it until there is a connection.
    private func issue(_ command: NBDClientCommand) {
        guard !isStopped else { return finish(command, ESHUTDOWN) }
        guard !durability.refuses else { return finish(command, EIO) }
        guard let link else { return waiting.append(command) }
        inFlight += 1
        command.error = 0
        guard command.send(on: link.handle, traits, durability) < 0 else { return }
        inFlight -= 1
        if link.isBroken {
            waiting.append(command)
        } else {
            finish(command, nbd_get_errno() == 0 ? EIO : nbd_get_errno())
        }
    }

    /// Ends or continues the request of an ended command.
    private func complete(_ command: NBDClientCommand) {
        inFlight -= 1
        guard link != nil || command.error == 0 else {
            // The connection was lost before the acknowledgement, so the command is sent again on the next one.
            command.request.pointee.extentCount = 0
            return sendAgain(command)
        }
        let request = command.request
        let isFlush = request.pointee.stage == .makeDurable || request.pointee.kind == .flush
        guard command.error == 0 else {
            // The server may have dropped the writes of others, too.
            if isFlush || traits.makesDurable(request) { durability.recordLoss() }
            return finish(command, command.error)
        }
        if request.pointee.kind == .read, command.received != command.piece { return finish(command, EIO) }
        if isFlush {
            durability.endFlush(covering: command.flushMark)
            return finish(command, 0)
        }
        request.pointee.progress += Int(command.piece)
        // The answer to a status may cover less than the request.
        if request.pointee.progress < Int(request.pointee.length), request.pointee.kind != .status {
            return issue(command)
        }
        if request.pointee.kind.isChange, !traits.makesDurable(request) { durability.recordWrite() }
        if request.pointee.kind.isChange, request.pointee.isForcedUnitAccess, !traits.canForceUnitAccess,
            traits.canFlush
        {
            request.pointee.stage = .makeDurable
            return issue(command)
        }
        // A server without a usable answer leaves everything data: the client's request needs an extent.
        if request.pointee.kind == .status, request.pointee.extentCount == 0 { request.pointee.addAllData() }
        finish(command, 0)
    }

    /// Repeats a command for a while: a server that closes the connection at this very command would always do so.
    private func sendAgain(_ command: NBDClientCommand) {
        let now = DispatchTime.now()
        let lostAt = command.lostAt ?? now
        command.lostAt = lostAt
        if now < lostAt + Self.retrySeconds { waiting.append(command) } else { finish(command, EIO) }
    }

    private func finish(_ command: NBDClientCommand, _ error: CInt) {
        PendingRequest(request: command.request, port: command.port).finish(error: error)
    }

    // MARK: The connection

    private func poll() {
        // An idle connection is polled, too: clients that come after a loss are owed no failed flush.
        guard let link, inFlight > 0 || !isStopped else { return }
        let direction = nbd_aio_get_direction(link.handle)
        var events: UInt32 = 0
        if direction & UInt32(LIBNBD_AIO_DIRECTION_READ) != 0 { events |= UInt32(POLLIN) }
        if direction & UInt32(LIBNBD_AIO_DIRECTION_WRITE) != 0 { events |= UInt32(POLLOUT) }
        guard events != polled, events != 0 else { return }
        if polled != 0 { return loop.cancel(operation) }
        polled = events
        // The ring does not retain its handlers.
        _ = operation.pointee.handler.retain()
        loop.poll(nbd_aio_get_fd(link.handle), events: events, operation)
    }

    private func lose() {
        guard let link else { return }
        self.link = nil
        durability.recordLoss()
        if polled != 0 { loop.cancel(operation) }
        // libnbd calls `ended` for the commands in flight.
        nbd_close(link.handle)
    }

    private func reconnect() {
        reconnector.connect { [self] in adopt($0) }
    }

    /// Continues on a new connection; nil if there is none.
    private func adopt(_ found: NBDClientLink?) {
        if let found, found.traits == traits, !isStopped {
            let commands = waiting
            waiting = []
            link = found
            for command in commands { issue(command) }
            return proceed()
        }
        if let found { refuse(found) }
        giveUpWaiting(isStopped ? ESHUTDOWN : EIO)
    }

    private func refuse(_ found: NBDClientLink) {
        nbd_close(found.handle)
        guard found.traits != traits, reportedSize != found.traits.size else { return }
        reportedSize = found.traits.size
        report("\(found.traits.difference(from: traits)); requests fail until it shows the first one again")
    }

    private func giveUpWaiting(_ error: CInt) {
        let commands = waiting
        waiting = []
        for command in commands { finish(command, error) }
    }
}
