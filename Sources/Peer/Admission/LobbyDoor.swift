import NIOCore

/// Stands behind the decoder of an accepted connection until it has brought its first whole frame, for `Lobby.patience`
/// at most.
final class LobbyDoor: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let lobby: Lobby
    private var deadline: Scheduled<Void>?
    /// Nil until it is admitted.
    private var peer: PeerIdentity?

    init(_ lobby: Lobby) {
        self.lobby = lobby
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: Lobby.patience) { [lobby] in lobby.expel(channel) }
        lobby.enter(channel)
        if !channel.isActive { goAway(channel) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let deadline {
            deadline.cancel()
            self.deadline = nil
            let peer = PeerIdentity(of: context.channel)
            if lobby.admit(context.channel, of: peer) { self.peer = peer } else { context.channel.closeNow() }
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
        lobby.leave(channel)
        if let peer { lobby.end(peer) }
        peer = nil
    }
}
