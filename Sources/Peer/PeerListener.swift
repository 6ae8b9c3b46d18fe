import NIOCore
import NIOPosix

/// Accepts connections of peers.
public struct PeerListener: Sendable {
    private let channel: NIOAsyncChannel<Accepted, Never>

    /// As bound, with the port that the kernel chose.
    public let address: PeerAddress

    private struct Accepted: Sendable {
        let channel: PeerConnection.FrameChannel
        let traffic: Traffic
    }

    /// Listens at once.
    /// - Throws: `PeerError` where the address is taken or not allowed.
    public init(on address: PeerAddress, group: any EventLoopGroup) async throws {
        guard address.isLoopback else { throw PeerError.notLoopback(address) }
        do {
            channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .bind(host: address.host, port: Int(address.port)) { channel in
                    let traffic = Traffic()
                    return PeerConnection.wrap(channel, traffic).map { Accepted(channel: $0, traffic: traffic) }
                }
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
        try? await channel.executeThenClose { inbound in
            try await withThrowingDiscardingTaskGroup { group in
                for try await accepted in inbound {
                    group.addTask {
                        _ = try? await PeerConnection.run(accepted.channel, accepted.traffic) { await body($0) }
                    }
                }
            }
        }
    }
}
