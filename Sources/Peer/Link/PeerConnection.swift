import NIOCore
import NIOPosix

/// One connection to a peer: whole frames in and out, in order, with back-pressure both ways.
public struct PeerConnection: Sendable {
    /// The longest frame of a connection that was accepted, until it is known what it is for. Bytes.
    static let openingFrame = 8 << 10
    /// The longest frame of a connection, unless it was opened for long ones. Bytes.
    static let ordinaryFrame = 2 << 20
    /// The longest frame of a forwarding connection that need not be announced. Bytes.
    static let promptFrame = (64 << 10) + 1024
    /// The longest frame of a connection that was opened for long ones: a forwarded request of 32 MiB with its header.
    public static let maximumFrame = (32 << 20) + 1024
    /// Bytes that the kernel may hold and not have sent, where it is to hold little.
    private static let smallBacklog = 64 << 10

    /// Frames from the peer; one reader at a time. Ends when the peer closes, throws when the link breaks. An empty frame
    /// announces a long one: see `announceLongFrames`.
    public let inbound: NIOAsyncChannelInboundStream<ByteBuffer>
    /// What has crossed this connection's socket.
    public let traffic: Traffic
    /// The other end.
    public let peer: PeerIdentity
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let channel: any Channel
    private let frameLimit: FrameLimit

    /// Sends a frame; returns once the link has room for more.
    /// - Throws: `PeerError.cut` where the link is down; `CancellationError`.
    public func send(_ frame: ByteBuffer) async throws {
        precondition(frame.readableBytes <= Self.maximumFrame)
        do {
            try await outbound.write(frame)
        } catch let error as CancellationError {
            throw error
        } catch {
            // Whatever the socket or the encryption calls it.
            throw PeerError.cut
        }
    }

    /// Sends a frame that is held to take memory of a limit; returns once the kernel has all of it, so that it takes none any
    /// more. If the task is cancelled meanwhile, the connection is closed.
    /// - Throws: `PeerError.cut` where the link is down.
    public func sendWhole(_ frame: ByteBuffer) async throws {
        precondition(frame.readableBytes <= Self.maximumFrame)
        do {
            try await withTaskCancellationHandler {
                try await channel.writeAndFlush(frame).get()
            } onCancel: {
                channel.abortConnection()
            }
        } catch {
            throw PeerError.cut
        }
    }

    /// Takes frames of up to 2 MiB from now on, where the connection was accepted; whoever says so has agreed to take
    /// a disk. Before that, nobody can make this node hold more than a few KiB.
    public func allowOrdinaryFrames() {
        frameLimit.raise(to: Self.ordinaryFrame)
    }

    /// Takes frames of up to 64 KiB and a header from now on, and others as `announceLongFrames` says.
    public func allowPromptFrames() {
        frameLimit.raise(to: Self.promptFrame)
        announceLongFrames()
    }

    /// Has frames that are longer than the limit, up to `maximumFrame` bytes, wait in the sender's socket from now on. For
    /// each, an empty one comes from `inbound`, and then the frame itself, once `takeLongFrame` is called.
    public func announceLongFrames() { frameLimit.announce(upTo: Self.maximumFrame) }

    /// Bytes of the frame that waits to be taken; 0 where none does.
    public var waitingFrame: Int { frameLimit.waiting }

    /// Lets the frame come that waits; whoever says so has room for it.
    public func takeLongFrame() {
        frameLimit.letCome()
        channel.triggerUserOutboundEvent(FramesMayCome(), promise: nil)
    }

    /// Takes frames of up to `maximumFrame` bytes from now on, as many as come: only from who is to be trusted with that.
    public func allowLongFrames() {
        frameLimit.raise(to: Self.maximumFrame)
    }

    /// Gives the kernel little ahead of what it has sent, so that what is sent on another connection to the same node need
    /// not wait for it; `tcp(7)`, TCP_NOTSENT_LOWAT.
    public func keepBacklogSmall() async throws {
        let option = NIOBSDSocket.Option(rawValue: TCP_NOTSENT_LOWAT)
        try await channel.setOption(.tcpOption(option), value: Self.smallBacklog).get()
    }

    /// What TCP knows of the path now; nil where it does not say, or the connection is closed.
    public func path() async -> PathState? { try? await channel.path() }

    /// Sends no faster than this, however much the path may carry, where the kernel can do that; `socket(7)`,
    /// SO_MAX_PACING_RATE.
    /// - Parameter bytesPerSecond: nil for no limit.
    public func limitPace(bytesPerSecond: UInt64?) async {
        try? await channel.limitPace(bytesPerSecond: bytesPerSecond)
    }

    /// Whether the link still stands, as far as is known.
    public var isOpen: Bool { channel.isActive }

    /// Has `action` called once the connection is closed, on whichever thread; at once where it is closed already.
    public func whenClosed(_ action: @escaping @Sendable () -> Void) {
        channel.closeFuture.whenComplete { _ in action() }
    }

    /// Ends the connection at once; whoever reads or writes it is told.
    public func close() {
        channel.abortConnection()
    }

    /// Connects, and runs `body` with the connection, which is closed when `body` returns or throws.
    /// - Throws: `PeerError` where nobody answers, the address is not allowed, or it is somebody else who answers; what
    ///   `body` throws.
    public static func connect<Result: Sendable>(
        to address: PeerAddress, on transport: PeerTransport,
        _ body: @Sendable (PeerConnection) async throws -> Result
    ) async throws -> Result {
        let protection = transport.protection
        try protection.checkConnecting(to: address)
        let link: FramedLink
        let attempt = ConnectAttempt()
        do {
            link = try await withTaskCancellationHandler {
                try await ClientBootstrap(group: transport.group)
                    .connectTimeout(.seconds(10))
                    .channelOption(.autoRead, value: false)
                    .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { attempt.use(channel) } }
                    .connect(host: address.host, port: Int(address.port))
                    .get()
                    .takeUp { try FramedLink.wrap($0, .connecting(address, protection)) }
            } onCancel: {
                attempt.cancel()
            }
        } catch let error as PeerError {
            throw error
        } catch {
            throw PeerError.unreachable(address, reason: describe(error))
        }
        return try await run(link, body)
    }

    static func run<Result: Sendable>(
        _ link: FramedLink, _ body: @Sendable (PeerConnection) async throws -> Result
    ) async throws -> Result {
        try await link.channel.executeThenClose { inbound, outbound in
            // What strangers can delay must not delay the end of the node.
            try await withTaskCancellationHandler {
                try await link.known.get()
            } onCancel: {
                link.channel.channel.abortConnection()
            }
            let channel = link.channel.channel
            channel.preferBBR()
            let peer = try await channel.eventLoop.submit { PeerIdentity(of: channel) }.get()
            let connection = PeerConnection(
                inbound: inbound, traffic: link.traffic, peer: peer, outbound: outbound, channel: channel,
                frameLimit: link.frameLimit)
            return try await body(connection)
        }
    }

    private static func describe(_ error: any Error) -> String {
        if let failure = error as? NIOConnectionError, let first = failure.connectionErrors.first {
            return describe(first.error)
        }
        if let failure = error as? IOError { return String(cString: strerror(failure.errnoCode)) }
        return String(describing: error)
    }
}
