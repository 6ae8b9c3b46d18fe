import NIOCore
import NIOHTTP1

/// Takes the first request of a connection; further ones are not read, because each answer ends its connection.
final class WebRequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart

    private let answer: (HTTPRequestHead, any Channel) -> Void
    private var hasTaken = false

    init(answer: @escaping (HTTPRequestHead, any Channel) -> Void) {
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = unwrapInboundIn(data), !hasTaken else { return }
        hasTaken = true
        answer(head, context.channel)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
