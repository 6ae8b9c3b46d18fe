import NIOCore

/// Asks the pipeline to let the announced frame come.
struct FramesMayCome: Sendable {}

/// Stops reading the socket while a long frame waits to be let in; stands below the decoder.
final class FrameGate: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer

    /// Bytes that may come nevertheless, because they were read already. At the end of a connection NIO reads all that the
    /// kernel has, which may be more.
    private static let mostHeld = 1 << 20

    private let limit: FrameLimit
    private var owesRead = false
    private var held = 0

    init(_ limit: FrameLimit) {
        self.limit = limit
    }

    func read(context: ChannelHandlerContext) {
        if limit.waiting > 0 { owesRead = true } else { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if limit.waiting > 0 {
            held += Self.unwrapInboundIn(data).readableBytes
            guard held <= Self.mostHeld else { return context.channel.abortConnection() }
        }
        context.fireChannelRead(data)
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is FramesMayCome else { return context.triggerUserOutboundEvent(event, promise: promise) }
        promise?.succeed()
        guard limit.waiting == 0 else { return }
        held = 0
        // All of the frame may be here already: the decoder looks again when something comes.
        context.fireChannelRead(Self.wrapInboundOut(ByteBuffer()))
        context.fireChannelReadComplete()
        guard owesRead, limit.waiting == 0 else { return }
        owesRead = false
        context.read()
    }
}
