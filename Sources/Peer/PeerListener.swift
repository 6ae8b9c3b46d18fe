import NIOCore
import NIOPosix

/// Accepts connections of peers.
public struct PeerListener: Sendable {
    /// Connections at once; further ones are closed.
    private static let maximumConnections = 256

    private let channel: NIOAsyncChannel<any Channel, Never>

    /// As bound, with the port that the kernel chose.
    public let address: PeerAddress

    /// Listens at once.
    /// - Throws: `PeerError` where the address is taken or not allowed.
    public init(on address: PeerAddress, group: any EventLoopGroup) async throws {
        guard address.isLoopback else { throw PeerError.notLoopback(address) }
        do {
            channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .acceptingBareChannels()
                .bind(host: address.host, port: Int(address.port)) { $0.eventLoop.makeSucceededFuture($0) }
        } catch {
            let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
            throw PeerError.cannotListen(address, reason: reason)
        }
        let port = channel.channel.localAddress?.port ?? Int(address.port)
        self.address = PeerAddress(host: address.host, port: UInt16(port))
    }

    /// Serves every connection with `body`, each in a task of its own, until the task is cancelled. One that fails ends
    /// alone; `body` reports what there is to report.
    public func run(_ body: @escaping @Sendable (PeerConnection) async -> Void) async {
        let connections = Connections()
        try? await channel.executeThenClose { inbound in
            try await withThrowingDiscardingTaskGroup { group in
                for try await accepted in inbound {
                    guard connections.begin(atMost: Self.maximumConnections) else {
                        accepted.close(promise: nil)
                        continue
                    }
                    group.addTask {
                        defer { connections.end() }
                        guard let link = try? await accepted.takeUp(FramedLink.wrap) else { return }
                        _ = try? await PeerConnection.run(link) { await body($0) }
                    }
                }
            }
        }
    }
}
