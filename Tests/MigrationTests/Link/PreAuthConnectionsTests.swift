import NIOCore
import NIOEmbedded
import Testing

@testable import Peer

@Suite("Connections that have not said what they want")
struct PreAuthConnectionsTests {
    /// A connection from an address, which may be closed.
    private func connection(_ address: String) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(handler: Closer())
        let address = try SocketAddress(ipAddress: address, port: 1)
        channel.remoteAddress = address
        try channel.connect(to: address).wait()
        channel.remoteAddress = address
        return channel
    }

    /// As the end of a pipeline does.
    private final class Closer: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
            if event is AbortConnection { context.close(promise: promise) } else { promise?.succeed() }
        }
    }

    @Test("However many come from one address, the one from another keeps its place")
    func flood() throws {
        let connections = PreAuthConnections(waitingLimit: 4, admittedLimit: 10)
        let peer = try connection("10.0.0.1")
        connections.enter(peer)
        let strangers = try (0..<20).map { _ in try connection("10.0.0.2") }
        for stranger in strangers { connections.enter(stranger) }
        // Not within the expectations: the library can't describe a channel that has failed one.
        let (peerIsOpen, strangersAreOpen) = (peer.isActive, strangers.map(\.isActive))
        #expect(peerIsOpen)
        #expect(strangersAreOpen == Array(repeating: false, count: 17) + Array(repeating: true, count: 3))
        let isAdmitted = connections.admit(peer, of: .address("10.0.0.1"))
        #expect(isAdmitted)
    }

    @Test("Where no address has more than another, the oldest goes; those that have left are not counted")
    func oldest() throws {
        let connections = PreAuthConnections(waitingLimit: 3, admittedLimit: 10)
        let peers = try (1...5).map { try connection("10.0.0.\($0)") }
        for peer in peers.prefix(4) { connections.enter(peer) }
        var areOpen = peers.map(\.isActive)
        #expect(areOpen == [false, true, true, true, true])
        connections.leave(peers[1])
        connections.enter(peers[4])
        areOpen = peers.map(\.isActive)
        #expect(areOpen == [false, true, true, true, true])
    }
}
