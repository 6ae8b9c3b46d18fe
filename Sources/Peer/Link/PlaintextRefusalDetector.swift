import NIOCore

/// Stands at a connection in the clear that this node has made: a peer that ends it without a word expects TLS, as a rule.
final class PlaintextRefusalDetector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let traffic: Traffic

    init(_ traffic: Traffic) {
        self.traffic = traffic
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The end follows and is told then.
        if traffic.received > 0 { context.fireErrorCaught(error) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if traffic.received == 0 {
            context.fireErrorCaught(
                PeerError.handshake(
                    "it hung up without a word: it speaks TLS and this node does not, or too many are connected to it"))
        }
        context.fireChannelInactive()
    }
}
