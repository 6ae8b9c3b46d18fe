import NIOCore
import NIOPosix
import PeerModel

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
    /// The bytes that have crossed this connection's socket.
    public let traffic: Traffic
    /// The other end.
    public let peer: PeerIdentity
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let channel: any Channel
    private let frameLimit: FrameLimit

    /// The address and port of the other end; nil if there is none.
    var remote: SocketAddress? { channel.remoteAddress }

    /// The numeric address of the other end; nil if there is none.
    public var remoteAddress: String? { channel.remoteAddress?.ipAddress }

    /// Sends a frame; returns once the link has room for more.
    /// - Throws: `PeerError.cut` if the link is down; `CancellationError`.
    public func send(_ frame: ByteBuffer) async throws {
        precondition(frame.readableBytes <= Self.maximumFrame)
        do {
            try await outbound.write(frame)
        } catch let error as CancellationError {
            throw error
        } catch {
            // The socket and the encryption have several errors for it.
            throw PeerError.cut
        }
    }

    /// Sends a frame whose memory counts against a limit; returns once the kernel has all of it. If the task is cancelled
    /// meanwhile, the connection is closed.
    /// - Throws: `PeerError.cut` if the link is down.
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

    /// Allows frames of up to 2 MiB on an accepted connection from now on. The caller has agreed to take a disk: before
    /// that, no peer can make this node hold more than a few KiB.
    public func allowOrdinaryFrames() {
        frameLimit.raise(to: Self.ordinaryFrame)
    }

    /// Allows frames of up to 64 KiB and a header from now on; longer ones are announced, as `announceLongFrames` says.
    public func allowPromptFrames() {
        frameLimit.raise(to: Self.promptFrame)
        announceLongFrames()
    }

    /// Makes frames that are longer than the limit, up to `maximumFrame` bytes, wait in the sender's socket from now on. For
    /// each, an empty one comes from `inbound`, and after `takeLongFrame` the frame itself.
    public func announceLongFrames() { frameLimit.announce(upTo: Self.maximumFrame) }

    /// Bytes of the frame that waits to be taken; 0 if none does.
    public var waitingFrame: Int { frameLimit.waiting }

    /// Lets the waiting frame come; the caller has room for it.
    public func takeLongFrame() {
        frameLimit.letCome()
        channel.triggerUserOutboundEvent(FramesMayCome(), promise: nil)
    }

    /// Allows any number of frames of up to `maximumFrame` bytes from now on; only for a peer that may use so much memory.
    public func allowLongFrames() {
        frameLimit.raise(to: Self.maximumFrame)
    }

    /// Limits what the kernel holds unsent to 64 KiB, so that another connection to the same node need not wait for it;
    /// `tcp(7)`, TCP_NOTSENT_LOWAT.
    public func keepBacklogSmall() async throws {
        let option = NIOBSDSocket.Option(rawValue: TCP_NOTSENT_LOWAT)
        try await channel.setOption(.tcpOption(option), value: Self.smallBacklog).get()
    }

    /// Returns TCP's measurements of the path; nil if the connection is closed or the kernel has none.
    public func path() async -> PathState? { try? await channel.path() }

    /// Limits the rate at which the kernel sends, if it can; `socket(7)`, SO_MAX_PACING_RATE.
    /// - Parameter bytesPerSecond: nil for no limit.
    public func limitPace(bytesPerSecond: UInt64?) async {
        try? await channel.limitPace(bytesPerSecond: bytesPerSecond)
    }

    /// The loop on which the connection runs.
    public var eventLoop: any EventLoop { channel.eventLoop }

    /// Whether the link still stands, as far as is known.
    public var isOpen: Bool { channel.isActive }

    /// Calls `action` once the connection is closed, on any thread; at once if it is closed already.
    public func whenClosed(_ action: @escaping @Sendable () -> Void) {
        channel.closeFuture.whenComplete { _ in action() }
    }

    /// Returns once the connection is closed, by whichever side; a cancelled task waits too.
    public func waitUntilClosed() async { try? await channel.closeFuture.get() }

    /// Calls `look` with each frame that comes from now on, before `inbound` has it, on the connection's event loop: it must
    /// be quick. What waits in the sender's socket has not come.
    public func watchFrames(_ look: @escaping @Sendable (ByteBuffer) -> Void) async {
        // A connection that is closed brings no more frames.
        try? await channel.eventLoop.submit { [channel] in
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(FrameWatch(look), position: .after(pipeline.handler(type: FrameWriter.self)))
        }.get()
    }

    /// Ends the connection at once; its reader and writers get the end or an error.
    public func close() {
        channel.abortConnection()
    }

    /// Ends the connection in good order, as the end of its `body` does. What was sent arrives; any thread may call it.
    public func end() {
        channel.close(promise: nil)
    }

    /// Connects, and runs `body` with the connection, which is closed when `body` returns or throws.
    /// - Throws: `PeerError` if nobody answers, the address is not allowed, or another host answers; the error of `body`.
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
            throw PeerError.unreachable(address, reason: error.plainReason)
        }
        transport.record(opened: link.channel.channel)
        return try await run(link, body)
    }

    static func run<Result: Sendable>(
        _ link: FramedLink, _ body: @Sendable (PeerConnection) async throws -> Result
    ) async throws -> Result {
        try await link.channel.executeThenClose { inbound, outbound in
            // A stranger can delay the handshake, and must not delay the end of the node with it.
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
}
