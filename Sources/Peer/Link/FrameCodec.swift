import NIOCore

/// Decodes the frames of a `FrameWriter`: a 4-byte big-endian length, then that many bytes, the first of which is the
/// message's type. An empty frame, which no peer can send, announces a long one that waits to be let in.
struct FrameCodec: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    let limit: FrameLimit

    func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
        let verdict = length > 0 ? limit.judge(Int(length)) : .refuse
        guard verdict != .refuse else {
            if Self.isTLS(length) {
                throw PeerError.handshake(
                    "it speaks TLS, and this node does not; start this node with --peer-tls DIR or --tls DIR")
            }
            throw PeerError.malformed("a frame of \(length) bytes, where 1 to \(limit.bytes) are allowed")
        }
        if verdict == .announce { return ByteBuffer() }
        guard verdict == .take, buffer.readableBytes >= 4 + Int(length) else { return nil }
        limit.hasCome()
        buffer.moveReaderIndex(forwardBy: 4)
        return buffer.readSlice(length: Int(length))
    }

    func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? {
        try decode(buffer: &buffer)
    }

    /// Whether a record of TLS begins so: an alert or a handshake, then the major version 3.
    private static func isTLS(_ start: UInt32) -> Bool {
        [0x1503, 0x1603].contains(start >> 16)
    }
}
