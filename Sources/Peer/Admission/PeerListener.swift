import NIOCore
import NIOPosix
import PeerModel

/// Accepts connections of peers.
public struct PeerListener: Sendable {
    private let channel: NIOAsyncChannel<any Channel, Never>
    private let transport: PeerTransport

    /// The bound address, with the port that the kernel chose.
    public let address: PeerAddress

    /// Listens at once.
    /// - Parameter inherited: a socket that listens on `address` already, which the listener closes; nil to open one.
    /// - Throws: `PeerError` if the address is taken or not allowed.
    public init(on address: PeerAddress, inherited: CInt? = nil, transport: PeerTransport) async throws {
        try transport.protection.checkListening(on: address)
        let bootstrap = ServerBootstrap(group: transport.group).acceptingBareChannels()
        do {
            if let inherited {
                channel = try await bootstrap.bind(inherited) { $0.eventLoop.makeSucceededFuture($0) }
            } else {
                channel = try await bootstrap.serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .bind(host: address.host, port: Int(address.port)) { $0.eventLoop.makeSucceededFuture($0) }
            }
        } catch {
            let reason = error.plainReason
            throw PeerError.cannotListen(address, reason: reason)
        }
        let port = channel.channel.localAddress?.port ?? Int(address.port)
        self.address = PeerAddress(host: address.host, port: UInt16(port))
        self.transport = transport
    }

    /// Serves every connection with `body`, each in a task of its own, until the task is cancelled. A connection that fails
    /// ends alone; `body` reports what there is to report.
    /// - Parameter refused: told of those that did not get as far as `body`, at most once a second. A peer that was gone as soon
    ///   as it came has no address.
    public func run(
        refused: @escaping @Sendable (_ from: String?, _ reason: any Error) -> Void = { _, _ in },
        _ body: @escaping @Sendable (PeerConnection) async -> Void
    ) async {
        let reports = ReportLimit(interval: .seconds(1))
        let connections = PreAuthConnections(
            waitingLimit: PeerLimits.waiting, admittedLimit: PeerLimits.connections,
            admittedPerPeer: PeerLimits.connectionsPerPeer
        ) { channel in
            let from = channel.remoteAddress?.ipAddress
            // An NBD client does so: it waits for the server's greeting.
            let reason = "it has said nothing; NBD clients have to connect to an address of --listen or --socket"
            if reports.isTime() { refused(from, PeerError.handshake(reason)) }
        }
        try? await channel.executeThenClose { inbound in
            try await withThrowingDiscardingTaskGroup { group in
                for try await accepted in inbound {
                    let protection = transport.protection
                    // A connection that has ended has no address any more.
                    let from = accepted.remoteAddress?.ipAddress
                    group.addTask {
                        do {
                            let link = try await accepted.takeUp {
                                try FramedLink.wrap($0, .accepting(connections, protection))
                            }
                            try await PeerConnection.run(link) { await body($0) }
                        } catch let error as PeerError {
                            // Connections that just end are mostly probes of the port.
                            if case .cut = error { return }
                            if reports.isTime() { refused(from, error) }
                        } catch {}
                    }
                }
            }
        }
    }
}
