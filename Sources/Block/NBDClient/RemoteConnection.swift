import CLibNBD
import Dispatch
import Glibc
import Ring

/// One connection to another NBD server, on one loop: libnbd says what it waits for, and the ring tells when it is there.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class RemoteConnection: RingHandler, @unchecked Sendable {
    private static let zeros = ZeroPage()
    /// Bytes of data in one command: what every server takes that was not asked for its limits.
    private static let longestData: UInt64 = 32 << 20
    /// Bytes that one command without data covers.
    private static let longestRange: UInt64 = 1 << 30
    /// Seconds for which requests wait for a connection that was lost.
    private static let patience = 30.0
    /// Microseconds between two tries to connect.
    private static let pause: useconds_t = 250_000

    let loop: EventLoop
    private let uri: String
    private let traits: RemoteTraits
    private let durability: RemoteDurability
    private let operation: UnsafeMutablePointer<RingOperation>
    /// nil while the connection is lost.
    private var link: RemoteLink?
    private var inFlight = 0
    private var endedCommands: [RemoteCommand] = []
    /// Those that wait for a connection.
    private var waiting: [RemoteCommand] = []
    private var isConnecting = false
    private var lastConnect = DispatchTime(uptimeNanoseconds: 1)
    /// The node ends: nothing is waited for any more.
    private var isStopped = false
    /// What the poll in flight waits for; 0 for none.
    private var polled: UInt32 = 0

    init(uri: String, link: RemoteLink, loop: EventLoop, durability: RemoteDurability) {
        self.uri = uri
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
        // Says goodbye without waiting for an answer.
        nbd_aio_disconnect(link.handle, 0)
        nbd_close(link.handle)
    }

    /// Begins a request, on the loop's thread.
    func start(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let command = RemoteCommand(request, port, self)
        if let error = answerWithoutServer(request) { return finish(command, error) }
        if request.pointee.kind == .writeZeroes, !traits.canZero { request.pointee.stage = .zeroFill }
        issue(command)
        proceed()
    }

    /// From now on it is noticed at once when the server goes. On the loop's thread.
    func watch() { proceed() }

    /// Ends every request, now and from now on, with ESHUTDOWN: a server that does not answer must not keep the node. On
    /// the loop's thread.
    func stop() {
        isStopped = true
        // What was under way ends as with any connection that is lost: libnbd would forget it if it were just closed.
        if let link, inFlight > 0 { shutdown(nbd_aio_get_fd(link.handle), CInt(SHUT_RDWR)) }
        if inFlight == 0, polled != 0 { loop.cancel(operation) }
        proceed()
    }

    /// What there is to say of a request that this server does not know; nil where it is to be asked.
    private func answerWithoutServer(_ request: UnsafeMutablePointer<BlockRequest>) -> CInt? {
        switch request.pointee.kind {
        case .flush where !traits.canFlush, .trim where !traits.canTrim, .cache where !traits.canCache:
            // The server promises durable writes by not offering flushes; the others are advice.
            return 0
        case .status where !traits.canTellStatus:
            _ = request.pointee.addExtent(BlockExtent(length: request.pointee.length, state: []))
            return 0
        case .writeZeroes where request.pointee.mustBeFast && !traits.canZeroFast:
            return ENOTSUP
        default:
            return nil
        }
    }

    /// Called by libnbd, which holds its lock: what follows waits until it has returned.
    func ended(_ command: RemoteCommand) {
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
                // Writes that the server has answered count before the loss.
                settle(takeEnded { $0.error == 0 })
                lose()
            }
            settle(takeEnded { _ in true })
        }
        if link == nil, !waiting.isEmpty { if isStopped { giveUpWaiting(ESHUTDOWN) } else { connect() } }
        poll()
    }

    private func takeEnded(where isTaken: (RemoteCommand) -> Bool) -> [RemoteCommand] {
        let taken = endedCommands.filter(isTaken)
        endedCommands.removeAll(where: isTaken)
        return taken
    }

    private func settle(_ commands: [RemoteCommand]) {
        for command in commands { settle(command) }
    }

    // MARK: Commands

    /// Sends what is next for a request.
    private func issue(_ command: RemoteCommand) {
        guard !isStopped else { return finish(command, ESHUTDOWN) }
        guard let link else {
            return waiting.append(command)
        }
        inFlight += 1
        command.error = 0
        guard send(command, link.handle) < 0 else { return }
        inFlight -= 1
        if link.isBroken {
            waiting.append(command)
        } else {
            finish(command, nbd_get_errno() == 0 ? EIO : nbd_get_errno())
        }
    }

    private func send(_ command: RemoteCommand, _ handle: OpaquePointer) -> Int64 {
        let request = command.request
        let offset = request.pointee.offset + UInt64(request.pointee.progress)
        let left = request.pointee.length - UInt64(request.pointee.progress)
        let isForced = request.pointee.isForcedUnitAccess && traits.canForceUnitAccess
        var flags: UInt32 = isForced ? UInt32(LIBNBD_CMD_FLAG_FUA) : 0
        command.piece = min(left, request.pointee.kind.carriesData ? Self.longestData : Self.longestRange)
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            command.flushMark = durability.beginFlush()
            return nbd_aio_flush(handle, command.completion(), 0)
        case (.zeroFill, _):
            command.piece = min(left, UInt64(ZeroPage.count))
            return nbd_aio_pwrite(
                handle, Self.zeros.bytes, Int(command.piece), offset, command.completion(), flags)
        case (_, .read):
            command.received = 0
            return nbd_aio_pread_structured(
                handle, request.pointee.buffer! + request.pointee.progress, Int(command.piece), offset,
                command.chunks(), command.completion(), 0)
        case (_, .write):
            return nbd_aio_pwrite(
                handle, request.pointee.buffer! + request.pointee.progress, Int(command.piece), offset,
                command.completion(), flags)
        case (_, .trim):
            return nbd_aio_trim(handle, command.piece, offset, command.completion(), flags)
        case (_, .writeZeroes):
            if !request.pointee.mayPunchHole { flags |= UInt32(LIBNBD_CMD_FLAG_NO_HOLE) }
            if request.pointee.mustBeFast { flags |= UInt32(LIBNBD_CMD_FLAG_FAST_ZERO) }
            return nbd_aio_zero(handle, command.piece, offset, command.completion(), flags)
        case (_, .cache):
            return nbd_aio_cache(handle, command.piece, offset, command.completion(), 0)
        case (_, .status):
            return nbd_aio_block_status(
                handle, command.piece, offset, command.extents(), command.completion(), 0)
        }
    }

    /// Takes in how a command has ended; its request ends or goes on.
    private func settle(_ command: RemoteCommand) {
        inFlight -= 1
        guard link != nil || command.error == 0 else {
            // Lost with the connection and not acknowledged: it is sent again on the next one.
            command.request.pointee.extentCount = 0
            return sendAgain(command)
        }
        let request = command.request
        let isFlush = request.pointee.stage == .makeDurable || request.pointee.kind == .flush
        guard command.error == 0 else {
            // The server may have dropped what others have written, too.
            if isFlush || isForcedByServer(request) { durability.noteLoss() }
            return finish(command, command.error)
        }
        if request.pointee.kind == .read, command.received != command.piece { return finish(command, EIO) }
        if isFlush {
            durability.endFlush(covering: command.flushMark)
            return finish(command, 0)
        }
        request.pointee.progress += Int(command.piece)
        // A status may tell less than was asked for.
        if request.pointee.progress < Int(request.pointee.length), request.pointee.kind != .status {
            return issue(command)
        }
        if request.pointee.kind.isChange, !isForcedByServer(request) {
            durability.noteWrite()
        }
        if request.pointee.kind.isChange, request.pointee.isForcedUnitAccess, !traits.canForceUnitAccess,
            traits.canFlush
        {
            request.pointee.stage = .makeDurable
            return issue(command)
        }
        if request.pointee.kind == .status { completeStatus(request) }
        finish(command, 0)
    }

    /// Whether the server makes a change durable before it answers.
    private func isForcedByServer(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        request.pointee.kind.isChange && request.pointee.isForcedUnitAccess && traits.canForceUnitAccess
    }

    /// A server that breaks off at this very command would do so for ever.
    private func sendAgain(_ command: RemoteCommand) {
        let now = DispatchTime.now()
        let lostAt = command.lostAt ?? now
        command.lostAt = lostAt
        if now < lostAt + Self.patience { waiting.append(command) } else { finish(command, EIO) }
    }

    /// A server that has told nothing of use has told that there may be data: a client's question has an answer.
    private func completeStatus(_ request: UnsafeMutablePointer<BlockRequest>) {
        guard request.pointee.extentCount == 0 else { return }
        _ = request.pointee.addExtent(BlockExtent(length: request.pointee.length, state: []))
    }

    private func finish(_ command: RemoteCommand, _ error: CInt) {
        PendingRequest(request: command.request, port: command.port).finish(error: error)
    }

    // MARK: The connection

    private func poll() {
        // Also while nothing is asked for: a client that comes after the server has gone is owed nothing.
        guard let link, inFlight > 0 || !isStopped else { return }
        let direction = nbd_aio_get_direction(link.handle)
        var events: UInt32 = 0
        if direction & UInt32(LIBNBD_AIO_DIRECTION_READ) != 0 { events |= UInt32(POLLIN) }
        if direction & UInt32(LIBNBD_AIO_DIRECTION_WRITE) != 0 { events |= UInt32(POLLOUT) }
        guard events != polled, events != 0 else { return }
        if polled != 0 { return loop.cancel(operation) }
        polled = events
        // The ring knows this object by its address only.
        _ = operation.pointee.handler.retain()
        loop.poll(nbd_aio_get_fd(link.handle), events: events, operation)
    }

    private func lose() {
        guard let link else { return }
        self.link = nil
        durability.noteLoss()
        if polled != 0 { loop.cancel(operation) }
        // Ends what was in flight, through `ended`.
        nbd_close(link.handle)
    }

    private func connect() {
        guard !isConnecting else { return }
        isConnecting = true
        // A server that takes connections and drops them must not keep a core busy.
        let isAgain = DispatchTime.now() < lastConnect + .microseconds(Int(Self.pause))
        lastConnect = .now()
        DispatchQueue.global().async { [self, uri] in
            if isAgain { usleep(Self.pause) }
            let found = Self.connect(uri)
            loop.post { [self] in
                isConnecting = false
                take(found)
            }
        }
    }

    /// Tries for a while; blocks.
    private static func connect(_ uri: String) -> RemoteLink? {
        let end = DispatchTime.now() + patience
        repeat {
            if let link = try? RemoteLink(uri: uri) { return link }
            usleep(pause)
        } while DispatchTime.now() < end
        return nil
    }

    private func take(_ found: RemoteLink?) {
        if let found, found.traits == traits, !isStopped {
            let commands = waiting
            waiting = []
            link = found
            for command in commands { issue(command) }
            return proceed()
        }
        if let found { nbd_close(found.handle) }
        giveUpWaiting(isStopped ? ESHUTDOWN : EIO)
    }

    private func giveUpWaiting(_ error: CInt) {
        let commands = waiting
        waiting = []
        for command in commands { finish(command, error) }
    }
}
