import NIOCore
import NIOPosix

/// A socket to a peer with everything that stands between it and whole frames.
struct FramedLink: Sendable {
    let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    let traffic: Traffic
    let frameLimit: FrameLimit

    /// Frames that wait to be read before the link is told to hold back.
    private static let waitingFrames = 4

    /// A dead peer is noticed within half a minute, whether something is under way to it or not; `tcp(7)`.
    private static let options: [(name: NIOBSDSocket.Option, value: Int)] = [
        (.tcp_nodelay, 1),
        (NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT), 30_000),
        (NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE), 10),
        (NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL), 5),
        (NIOBSDSocket.Option(rawValue: TCP_KEEPCNT), 4),
    ]

    /// To be called on the channel's event loop; whoever has the link must run it.
    @Sendable
    static func wrap(_ channel: any Channel) throws -> FramedLink {
        let traffic = Traffic()
        let limit = FrameLimit(PeerConnection.ordinaryFrame)
        let codec = FrameCodec(limit: limit)
        try channel.syncOptions?.setOption(.socketOption(.so_keepalive), value: 1)
        for option in options {
            try channel.syncOptions?.setOption(.tcpOption(option.name), value: option.value)
        }
        try channel.pipeline.syncOperations.addHandlers(
            TrafficCounter(traffic), ByteToMessageHandler(codec), MessageToByteHandler(codec))
        let framed = try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
            wrappingChannelSynchronously: channel,
            configuration: .init(backPressureStrategy: .init(lowWatermark: 1, highWatermark: waitingFrames)))
        return FramedLink(channel: framed, traffic: traffic, frameLimit: limit)
    }
}
