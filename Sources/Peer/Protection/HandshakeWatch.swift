import NIOCore
import NIOTLS
import TLS

/// Stands behind the handler that encrypts: tells when both sides know each other, and says in our words what went wrong.
final class HandshakeWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// The longest time that the handshake may take: as long as a connection may take to come about.
    private static let patience = TimeAmount.seconds(10)

    private let known: EventLoopPromise<Void>
    private let host: String?
    private let ownEnd: Int64?
    private var deadline: Scheduled<Void>?
    private var isOver = false

    /// - Parameters:
    ///   - known: kept when the handshake has succeeded, broken when it has failed.
    ///   - host: the host that this node means to reach; nil if the peer opened the connection.
    ///   - ownEnd: the end of the certificate that this node shows, in seconds since 1970; nil if it has none.
    init(_ known: EventLoopPromise<Void>, host: String?, ownEnd: Int64?) {
        self.known = known
        self.host = host
        self.ownEnd = ownEnd
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: Self.patience) { [known] in
            known.fail(PeerError.handshake("it does not answer; does it expect TLS on this port?"))
            channel.abortConnection()
        }
        if !channel.isActive { end(.failure(PeerError.cut)) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted? = event as? TLSUserEvent { end(.success(())) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let failure = error as? TLSFailure
        // The end of the connection follows. Every exchange of frames says itself when it is complete, so only an end
        // in its middle matters. A node that gives a connection up (`AbortConnection`) says nothing.
        if failure == .truncated { return }
        let ours = failure.map { PeerError(encryption: $0, host: host, ownEnd: ownEnd) } ?? error
        end(.failure(ours))
        context.fireErrorCaught(ours)
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
