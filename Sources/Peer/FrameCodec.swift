import NIOCore

/// Frames on the stream: a 4-byte big-endian length, then that many bytes, of which the first is the message's type.
struct FrameCodec: ByteToMessageDecoder, MessageToByteEncoder {
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer

    let limit: FrameLimit

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else {
            return .needMoreData
        }
        guard length > 0, length <= limit.bytes else {
            throw PeerError.malformed("a frame of \(length) bytes, where 1 to \(limit.bytes) are allowed")
        }
        guard buffer.readableBytes >= 4 + Int(length) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 4)
        context.fireChannelRead(Self.wrapInboundOut(buffer.readSlice(length: Int(length))!))
        return .continue
    }

    func encode(data: ByteBuffer, out: inout ByteBuffer) throws {
        out.writeInteger(UInt32(data.readableBytes))
        out.writeImmutableBuffer(data)
    }
}
