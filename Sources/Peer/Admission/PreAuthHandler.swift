import NIOCore

/// Lets nothing of an accepted connection through before its first whole frame, for which the connection has
/// `PreAuthConnections.patience`. It stands behind the decoder.
final class PreAuthHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let connections: PreAuthConnections
    private var deadline: Scheduled<Void>?
    /// Nil until the connection is admitted.
    private var peer: PeerIdentity?

    init(_ connections: PreAuthConnections) {
        self.connections = connections
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: PreAuthConnections.patience) { [connections] in
            connections.expel(channel)
        }
        connections.enter(channel)
        if !channel.isActive { goAway(channel) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let deadline {
            deadline.cancel()
            self.deadline = nil
            let peer = PeerIdentity(of: context.channel)
            if connections.admit(context.channel, of: peer) {
                self.peer = peer
            } else {
                context.channel.abortConnection()
            }
        }
        if peer != nil { context.fireChannelRead(data) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        goAway(context.channel)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        goAway(context.channel)
    }

    private func goAway(_ channel: any Channel) {
        deadline?.cancel()
        deadline = nil
        connections.leave(channel)
        if let peer { connections.end(peer) }
        peer = nil
    }
}
