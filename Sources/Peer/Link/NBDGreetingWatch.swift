import NIOCore
import PeerModel

/// Recognises an NBD server at the other end of a connection that this node has made. It stands below the encryption,
/// because an NBD server greets in the clear, even if its clients then have to encrypt.
final class NBDGreetingWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// `NBDMAGIC`: no frame and no record of TLS begins so.
    private static let greeting = Array("NBDMAGIC".utf8)

    private enum State {
        /// All bytes so far are the beginning of the greeting.
        case unclear(ByteBuffer)
        case peer
        case server
    }

    private let address: PeerAddress
    private var state = State.unclear(ByteBuffer())

    init(connectedTo address: PeerAddress) {
        self.address = address
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch state {
        case .peer:
            context.fireChannelRead(data)
        case .server:
            break
        case .unclear(var start):
            var bytes = Self.unwrapInboundIn(data)
            start.writeBuffer(&bytes)
            decide(start, context)
        }
    }

    private func decide(_ start: ByteBuffer, _ context: ChannelHandlerContext) {
        let known = start.readableBytesView.prefix(Self.greeting.count)
        if !known.elementsEqual(Self.greeting.prefix(known.count)) {
            state = .peer
            context.fireChannelRead(Self.wrapInboundOut(start))
        } else if known.count == Self.greeting.count {
            state = .server
            context.fireErrorCaught(PeerError.nbdServer(address))
        } else {
            state = .unclear(start)
        }
    }
}
