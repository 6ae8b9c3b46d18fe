import NIOCore

extension ForwardAnswer {
    /// Bytes of the message in front of the payload: type, id, error.
    package static let headerBytes = 1 + 8 + 4

    /// The message as one frame, for which the payload is copied once.
    package static func frame(id: UInt64, error: Int32, payload: UnsafeRawBufferPointer) -> ByteBuffer {
        let header = Message.answer(ForwardAnswer(id: id, error: error, payload: ByteBuffer())).encoded()
        var frame = ByteBufferAllocator().buffer(capacity: header.readableBytes + payload.count)
        frame.writeImmutableBuffer(header)
        frame.writeBytes(payload)
        return frame
    }
}
