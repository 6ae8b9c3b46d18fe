import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Peer

@testable import PeerModel

/// Stands between two nodes and keeps what crosses.
final class Relay: Sendable {
    private final class Pipe: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let seen: NIOLockedValueBox<[UInt8]>

        init(to other: any Channel, _ seen: NIOLockedValueBox<[UInt8]>) {
            self.other = other
            self.seen = seen
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let buffer = Self.unwrapInboundIn(data)
            seen.withLockedValue { $0 += buffer.readableBytesView }
            other.writeAndFlush(buffer, promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    }

    private let channel: any Channel
    private let seen = NIOLockedValueBox<[UInt8]>([])

    /// Where to connect to.
    let address: PeerAddress

    /// What has crossed, both ways.
    var bytes: [UInt8] { seen.withLockedValue { $0 } }

    init(to destination: PeerAddress, on group: any EventLoopGroup) async throws {
        let seen = seen
        channel = try await ServerBootstrap(group: group)
            .childChannelInitializer { near in
                ClientBootstrap(group: near.eventLoop)
                    .channelInitializer { far in
                        far.eventLoop.makeCompletedFuture {
                            try far.pipeline.syncOperations.addHandler(Pipe(to: near, seen))
                        }
                    }
                    .connect(host: destination.host, port: Int(destination.port))
                    .flatMapThrowing { far in try near.pipeline.syncOperations.addHandler(Pipe(to: far, seen)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        address = PeerAddress(host: "127.0.0.1", port: UInt16(channel.localAddress!.port!))
    }

    func stop() async throws { try await channel.close() }
}
