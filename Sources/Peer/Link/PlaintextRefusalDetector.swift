import NIOCore

/// Explains the end of an unencrypted connection that this node has made: a peer that closes it without sending a byte
/// usually expects TLS.
final class PlaintextRefusalDetector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let traffic: Traffic

    init(_ traffic: Traffic) {
        self.traffic = traffic
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // `channelInactive` follows and reports it.
        if traffic.received > 0 { context.fireErrorCaught(error) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if traffic.received == 0 {
            context.fireErrorCaught(
                PeerError.handshake(
                    "it hung up without a word: it speaks TLS and this node does not (give this one --peer-tls DIR or --tls "
                        + "DIR), or too many are connected to it (try again later)"))
        }
        context.fireChannelInactive()
    }
}
