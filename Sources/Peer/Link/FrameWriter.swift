import NIOCore

/// Puts the length in front of each frame that is sent. A long frame is passed on as it is: a copy would take its memory
/// twice while it waits for the peer.
final class FrameWriter: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Shorter frames go in one piece with their length, so that encryption makes one record of both. Bytes.
    private static let mostCopied = 64 << 10

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let frame = Self.unwrapOutboundIn(data)
        let isCopied = frame.readableBytes <= Self.mostCopied
        var start = context.channel.allocator.buffer(capacity: 4 + (isCopied ? frame.readableBytes : 0))
        start.writeInteger(UInt32(frame.readableBytes))
        if isCopied {
            start.writeImmutableBuffer(frame)
            context.write(Self.wrapOutboundOut(start), promise: promise)
        } else {
            context.write(Self.wrapOutboundOut(start), promise: nil)
            context.write(Self.wrapOutboundOut(frame), promise: promise)
        }
    }
}
