import NIOCore

/// Shows each frame that comes to somebody who does not read the connection, and passes it on.
final class FrameWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let look: @Sendable (ByteBuffer) -> Void

    init(_ look: @escaping @Sendable (ByteBuffer) -> Void) { self.look = look }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        look(Self.unwrapInboundIn(data))
        context.fireChannelRead(data)
    }
}
