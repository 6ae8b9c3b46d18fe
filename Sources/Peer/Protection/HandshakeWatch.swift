import NIOCore
import NIOSSL
import NIOTLS

/// Stands behind the handler that encrypts: tells when both sides know each other, and says in our words what went wrong.
final class HandshakeWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// As long as a connection may take.
    private static let patience = TimeAmount.seconds(10)

    private let known: EventLoopPromise<Void>
    private let host: String?
    private var deadline: Scheduled<Void>?
    private var isOver = false

    /// - Parameters:
    ///   - known: kept when the handshake has succeeded.
    ///   - host: whom this node means to reach; nil where it was connected to.
    init(_ known: EventLoopPromise<Void>, host: String?) {
        self.known = known
        self.host = host
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: Self.patience) { [known] in
            known.fail(PeerError.handshake("it does not answer; does it expect TLS on this port?"))
            channel.closeNow()
        }
        if !channel.isActive { end(.failure(PeerError.cut)) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent { end(.success(())) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The end of the connection follows, and what matters is whether it came in the middle.
        if let error = error as? NIOSSLError, error == .uncleanShutdown { return }
        let ours = otherHost(error, context) ?? PeerError(encryption: error) ?? error
        end(.failure(ours))
        context.fireErrorCaught(ours)
    }

    private func otherHost(_ error: any Error, _ context: ChannelHandlerContext) -> PeerError? {
        guard let host, let error = error as? NIOSSLExtraError, error == .failedToValidateHostname else { return nil }
        return PeerError(isNot: host, butHas: try? context.pipeline.syncOperations.nioSSL_peerCertificate())
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(.failure(PeerError.cut))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(.failure(PeerError.cut))
    }

    private func end(_ result: Result<Void, any Error>) {
        guard !isOver else { return }
        isOver = true
        deadline?.cancel()
        known.completeWith(result)
    }
}
