import NIOCore
import NIOPosix

/// A socket to a peer with everything that stands between it and whole frames.
struct FramedLink: Sendable {
    let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    let traffic: Traffic
    let frameLimit: FrameLimit
    /// Succeeds when each side knows who the other is, or at once if nothing is encrypted.
    let known: EventLoopFuture<Void>

    /// Frames that may wait to be read before the link stops reading its socket.
    private static let waitingFrames = 4

    /// A dead peer is noticed within half a minute, whether something is under way to it or not; `tcp(7)`.
    private static let options: [(name: NIOBSDSocket.Option, value: Int)] = [
        (.tcp_nodelay, 1),
        (NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT), 30_000),
        (NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE), 10),
        (NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL), 5),
        (NIOBSDSocket.Option(rawValue: TCP_KEEPCNT), 4),
    ]

    /// Builds the pipeline, on the channel's event loop. The caller must run the link (`Accepting.swift`).
    /// - Throws: `PeerError`, `TLSError`.
    static func wrap(_ channel: any Channel, _ side: LinkSide) throws -> FramedLink {
        try side.checkAddresses(of: channel)
        let encryption = try side.encryption()
        let traffic = Traffic()
        let limit = FrameLimit(side.firstFrame)
        let codec = FrameCodec(limit: limit)
        try channel.syncOptions?.setOption(.socketOption(.so_keepalive), value: 1)
        for option in options {
            try channel.syncOptions?.setOption(.tcpOption(option.name), value: option.value)
        }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(TrafficCounter(traffic))
        if case .connecting(let address, _) = side { try pipeline.addHandler(NBDGreetingWatch(connectedTo: address)) }
        let known = try encryption.map { try encrypt(channel, $0, side) } ?? channel.eventLoop.makeSucceededVoidFuture()
        if case .connecting = side, encryption == nil { try pipeline.addHandler(PlaintextRefusalDetector(traffic)) }
        try pipeline.addHandler(FrameGate(limit))
        try pipeline.addHandlers(ByteToMessageHandler(codec), FrameWriter())
        if case .accepting(let connections, _) = side { try pipeline.addHandler(PreAuthHandler(connections)) }
        let framed = try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
            wrappingChannelSynchronously: channel,
            configuration: .init(backPressureStrategy: .init(lowWatermark: 1, highWatermark: waitingFrames)))
        return FramedLink(channel: framed, traffic: traffic, frameLimit: limit, known: known)
    }

    private static func encrypt(
        _ channel: any Channel, _ handler: TLSHandler, _ side: LinkSide
    ) throws -> EventLoopFuture<Void> {
        let known = channel.eventLoop.makePromise(of: Void.self)
        do {
            // The watch is added first, because the handler may begin, and fail, as soon as it is there.
            let watch = HandshakeWatch(known, host: side.host, ownEnd: side.ownEnd)
            try channel.pipeline.syncOperations.addHandler(watch)
            try channel.pipeline.syncOperations.addHandler(handler, position: .before(watch))
        } catch {
            known.fail(error)
            throw error
        }
        return known.futureResult
    }
}
