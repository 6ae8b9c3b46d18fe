import Block
import Glibc
import Ring
import NIOConcurrencyHelpers
import Synchronization

/// Serves a table of exports on any number of addresses, with all loops of a node. Any thread may call.
///
/// 1. `listen` opens addresses.
/// 2. `stop` stops accepting, finishes the clients' requests and closes.
public final class Server: Sendable {
    private static let drainSeconds = 5

    let loops: [SessionLoop]
    let gate = MoveGate()
    private let idleCores = IdleCores()
    private let exports: ExportTable
    private let listeners = NIOLockedValueBox<[Listener]>([])
    /// Listeners of sockets that a service manager has passed on.
    private let inherited = NIOLockedValueBox<[Listener]>([])
    /// Unix sockets that `stop` removes.
    private let files = NIOLockedValueBox<[SocketFile]>([])
    private let connections = Atomic<Int>(0)
    private let tls = NIOLockedValueBox<ServerTLS?>(nil)

    private let observer: (any ClientObserver)?

    /// Creates a server without addresses.
    /// - Parameter observer: hears of clients that come, go or are refused; nil if nobody wants to.
    public convenience init(exports: ExportTable, loops: [EventLoop], observer: (any ClientObserver)? = nil) {
        self.init(exports: exports, loops: loops, placement: .byLoad, observer: observer)
    }

    /// Creates a server without addresses, whose clients come to the loops in turn.
    /// - Parameter placement: whether they may move later.
    package init(
        exports: ExportTable, loops: [EventLoop], placement: ClientPlacement, observer: (any ClientObserver)? = nil
    ) {
        precondition(!loops.isEmpty)
        self.observer = observer
        self.exports = exports
        let (gate, idleCores) = (gate, idleCores)
        let sessionLoops = loops.map { SessionLoop(loop: $0, gate: gate, idleCores: idleCores) }
        for loop in sessionLoops { loop.all = sessionLoops }
        self.loops = sessionLoops
        guard placement == .byLoad else { return }
        for loop in sessionLoops { loop.shareWhenReviewed() }
    }

    /// The number of connected clients.
    public var connectionCount: Int { connections.load(ordering: .relaxed) }

    /// Whether the loops have work of clients, and no core is idle. Other work may then take time from them.
    package var clientsNeedCores: Bool {
        let busy = loops.reduce(0) { $0 + $1.loop.load.busy }
        guard connectionCount > 0, busy >= LoopSharing.merged else { return false }
        return idleCores.current(at: WritePace.now()).map { $0.idle < LoopSharing.crowded } ?? false
    }

    /// The encryption of connections that are accepted now; nil while there is none.
    public var encryption: ServerTLS? { tls.withLockedValue { $0 } }

    /// Encrypts connections that are accepted from now on; nil turns TLS off.
    public func secure(with tls: ServerTLS?) {
        self.tls.withLockedValue { $0 = tls }
    }

    /// Accepts clients at `address`.
    /// - Parameter permissions: the permissions of a Unix socket.
    /// - Returns: the address; port 0 is replaced by the port that the kernel chose.
    /// - Throws: `ListenError`; `FileError` if a Unix socket can't have the permissions.
    public func listen(
        on address: ListenAddress, permissions: FilePermissions = FilePermissions()
    ) throws -> ListenAddress {
        let (sockets, bound) = try ListeningSocket.open(address, permissions)
        let turns = RoundRobin(count: loops.count)
        for socket in sockets {
            let listener = Listener(socket: socket, loop: loops[0].loop) { [unowned self] client in
                open(client, on: loops[turns.next()]) {}
            }
            if case .inherited = address {
                inherited.withLockedValue { $0.append(listener) }
            } else {
                listeners.withLockedValue { $0.append(listener) }
            }
            loops[0].loop.post { listener.begin() }
        }
        if case .unix(let path) = bound { files.withLockedValue { $0.append(SocketFile(path: path)) } }
        return bound
    }

    /// Serves one client on a connected socket, and returns when it has left.
    public func serve(_ socket: CInt) async {
        await withCheckedContinuation { continuation in
            open(socket, on: loops[0]) { continuation.resume() }
        }
    }

    /// Stops accepting clients, finishes the requests of those that are connected, and closes.
    public func stop() async {
        for file in files.withLockedValue({ $0 }) { file.remove() }
        await leaveInherited()
        await end(listeners)
        // From here on every session stays where it is, and is found there.
        gate.hold()
        await loops[0].settle()
        await withTaskGroup(of: Void.self) { group in
            for loop in loops { group.addTask { await Self.drain(loop) } }
        }
    }

    /// Stops accepting at sockets that a service manager has passed on. It keeps them open, so that new clients wait there
    /// for the next process.
    public func leaveInherited() async { await end(inherited) }

    private func end(_ list: NIOLockedValueBox<[Listener]>) async {
        let listeners = list.withLockedValue { list in
            defer { list = [] }
            return list
        }
        for listener in listeners {
            await withCheckedContinuation { continuation in
                loops[0].loop.post { listener.end { continuation.resume() } }
            }
        }
    }

    private func open(_ socket: CInt, on loop: SessionLoop, whenClosed: @escaping @Sendable () -> Void) {
        let visit = ClientVisit(socket: socket, observer: observer)
        guard connections.load(ordering: .relaxed) < ServerLimits.connections,
            socket < DescriptorReserve.current.clients
        else {
            visit.refused(.serverFull)
            close(socket)
            return whenClosed()
        }
        connections.add(1, ordering: .relaxed)
        Self.tune(socket)
        let tls = tls.withLockedValue { $0 }
        loop.loop.post { [exports] in
            loop.open(socket, exports: exports, tls: tls, visit: visit) { [self] in
                connections.subtract(1, ordering: .relaxed)
                whenClosed()
            }
        }
    }

    /// Replies are sent whole, so delaying them gains nothing. Keep-alive ends connections of dead clients.
    private static func tune(_ socket: CInt) {
        var on: CInt = 1
        let length = socklen_t(MemoryLayout<CInt>.size)
        setsockopt(socket, CInt(IPPROTO_TCP), TCP_NODELAY, &on, length)
        setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, length)
    }

    private static func drain(_ loop: SessionLoop) async {
        let reaper = Task {
            try await Task.sleep(for: .seconds(drainSeconds))
            loop.loop.post { loop.abandon() }
        }
        await withCheckedContinuation { continuation in
            loop.loop.post { loop.drain { continuation.resume() } }
        }
        reaper.cancel()
    }
}
