import Dispatch
import Ring

/// A disk on another NBD server, through libnbd(3) on the loops: qemu-nbd for qcow2, nbdkit for almost anything.
///
/// Each loop has a connection of its own if the server allows several; otherwise all use the first loop's. A lost
/// connection is made again, and requests wait for it; `NBDClientDurability` detects that changes may be lost.
public final class NBDClientDevice: BlockDevice, @unchecked Sendable {
    let traits: NBDClientTraits
    let durability: NBDClientDurability
    private let connections: [NBDClientConnection]
    /// Keeps alive what serves the disk, also for clients of an export that is no longer offered.
    let server: (any DiskServer)?

    private init(
        _ traits: NBDClientTraits, _ durability: NBDClientDurability, _ connections: [NBDClientConnection],
        _ server: (any DiskServer)?
    ) {
        self.server = server
        self.traits = traits
        self.durability = durability
        self.connections = connections
        super.init()
        for connection in connections { connection.loop.post { connection.watch() } }
    }

    // A poll in flight retains its connection.
    deinit { stop() }

    /// Connects to a server.
    /// - Parameters:
    ///   - uri: an NBD URI, `nbd://HOST/EXPORT` or `nbd+unix:///EXPORT?socket=PATH` and so on.
    ///   - loops: all loops of the node, in order.
    ///   - losses: counts the times that the server may have lost changes.
    ///   - server: kept alive as long as the device; nil if this process has not started it.
    ///   - report: called with a line for the operator when a connection that was made again leads to another disk; on any
    ///     thread.
    /// - Throws: `NBDClientError`.
    public static func open(
        uri: String, loops: [EventLoop], losses: LossCount, server: (any DiskServer)? = nil,
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> NBDClientDevice {
        let durability = NBDClientDurability(losses: losses, server: server)
        let first = try await connect(uri)
        let users = first.traits.canMultiConnect ? loops : [loops[0]]
        var connections: [NBDClientConnection] = []
        for loop in users {
            let link = loop === loops[0] ? first : try await connect(uri)
            guard link.traits == first.traits else {
                link.leave()
                throw NBDClientError(uri, "two connections to the server show different exports")
            }
            connections.append(
                NBDClientConnection(uri: uri, link: link, loop: loop, durability: durability, report: report))
        }
        return NBDClientDevice(first.traits, durability, connections, server)
    }

    /// Bytes of the disk.
    public var size: UInt64 { traits.size }
    /// Whether the server refuses writes.
    public var isReadOnly: Bool { traits.isReadOnly }
    /// Whether the server says that its disk is slow to seek.
    public var isRotational: Bool { traits.isRotational }

    /// Ends unanswered requests with ESHUTDOWN, and sends nothing more. Any thread may call.
    public func stop() {
        for connection in connections { connection.loop.post { connection.stop() } }
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        let index = port.loop.index
        let connection = connections.indices.contains(index) ? connections[index] : connections[0]
        if connection.loop === port.loop { return connection.start(request, port) }
        let pending = PendingRequest(request: request, port: port)
        connection.loop.post { connection.start(pending.request, pending.port) }
    }

    private static func connect(_ uri: String) async throws -> NBDClientLink {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(
                    with: Result {
                        try NBDClientLink(
                            uri: uri, timeoutSeconds: NBDClientReconnector.limitSeconds, findsContext: true)
                    })
            }
        }
    }
}
