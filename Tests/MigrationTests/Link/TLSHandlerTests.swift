import NIOCore
import NIOEmbedded
import NIOTLS
import TLS
import TestSupport
import Testing

@testable import Peer
@testable import PeerModel

@Suite("The handler that encrypts the peer link", .timeLimit(.minutes(5)))
struct TLSHandlerTests {
    private let certificates: PeerCertificates

    init() async throws {
        let made = try await Certificates()
        certificates = try PeerCertificates(directory: try await made.directory())
    }

    @Test("A handshake that comes byte by byte succeeds, and so does what follows it")
    func fragments() throws {
        let ends = try Ends(certificates)
        try ends.carry(piece: 1)
        #expect(ends.client.events == ["known"] && ends.server.events == ["known"])
        ends.client.write("from the client")
        ends.server.write("from the server")
        try ends.carry(piece: 1)
        #expect(ends.server.text == "from the client" && ends.client.text == "from the server")
        #expect(ends.client.certificate != nil && ends.server.certificate != nil)
        #expect(ends.client.certificate != ends.server.certificate, "each sees the other's")
    }

    @Test("What is written during the handshake waits for its end, and arrives in order")
    func early() throws {
        let ends = try Ends(certificates)
        for number in 0..<10 { ends.client.write("\(number)") }
        ends.server.write("x")
        try ends.carry(piece: 100)
        #expect(ends.server.text == "0123456789" && ends.client.text == "x")
    }

    @Test("A connection that is cut is told apart from one that is closed, after the handshake and in it")
    func truncation() throws {
        let cut = try Ends(certificates)
        try cut.carry()
        cut.client.write("half of it")
        try cut.carry()
        try cut.server.cut()
        #expect(cut.server.events == ["known", "truncated", "inactive"])
        #expect(cut.server.text == "half of it")

        let closed = try Ends(certificates)
        try closed.carry()
        closed.client.write("all of it")
        closed.client.close()
        try closed.carry()
        #expect(closed.server.events == ["known", "inactive"] && closed.server.text == "all of it")
        #expect(closed.client.events == ["known", "inactive"] && closed.client.isClosed == true)

        let early = try Ends(certificates)
        try early.server.cut()
        #expect(early.server.events == ["endedInHandshake", "inactive"])
    }

    @Test("What is on its way when this side closes still arrives, and the end waits for it")
    func lateData() throws {
        let ends = try Ends(certificates)
        try ends.carry()
        ends.client.close()
        ends.server.write("late")
        try ends.carry(from: ends.server, to: ends.client)
        #expect(ends.client.text == "late" && ends.client.isClosed == nil)
        try ends.carry()
        #expect(ends.client.isClosed == true && ends.client.events == ["known", "inactive"])
    }

    @Test("A peer that does not answer the end is waited for no longer than a second")
    func silentEnd() throws {
        let ends = try Ends(certificates)
        try ends.carry()
        ends.client.close()
        ends.client.close()
        ends.client.channel.embeddedEventLoop.advanceTime(by: .milliseconds(900))
        #expect(ends.client.isClosed == nil)
        ends.client.channel.embeddedEventLoop.advanceTime(by: .milliseconds(200))
        #expect(ends.client.isClosed == true)
    }

    @Test("A connection that is closed during the handshake ends at once")
    func closedInHandshake() throws {
        let ends = try Ends(certificates)
        ends.client.write("never")
        ends.client.close()
        ends.client.channel.embeddedEventLoop.run()
        #expect(ends.client.isClosed == true && ends.client.events == ["inactive"])
        #expect(ends.client.failedWrites == 1)
    }

    @Test("What is no TLS, or was changed on the way, is told of once, after what came before it; the peer hears why")
    func garbage() throws {
        func spoil(_ change: (inout ByteBuffer) -> Void) throws -> Ends {
            let ends = try Ends(certificates)
            try ends.carry()
            ends.client.write("good")
            var bytes = try #require(ends.client.socket.take())
            ends.client.write("bad")
            var bad = try #require(ends.client.socket.take())
            change(&bad)
            bytes.writeBuffer(&bad)
            try ends.server.receive(bytes)
            try ends.server.receive(ByteBuffer(repeating: 0, count: 40_000))
            try ends.carry(from: ends.server, to: ends.client)
            #expect(ends.server.text == "good")
            return ends
        }
        let changed = try spoil { $0.setInteger($0.getInteger(at: 7, as: UInt8.self)! ^ 1, at: 7) }
        #expect(changed.server.events.count == 3 && changed.server.events.last == "inactive")
        #expect(changed.server.events[1].contains("bad record mac"), "\(changed.server.events)")
        #expect(changed.client.events[1].contains("bad record mac"), "\(changed.client.events)")
        let other = try spoil { $0 = ByteBuffer(repeating: 0x17, count: 40_000) }
        #expect(other.server.events == ["known", "notTLS", "inactive"])
    }

    @Test("Memory: no more is encrypted than the socket takes, and no more is asked for while something waits")
    func backPressure() throws {
        var random = Seeded.fresh()
        let ends = try Ends(certificates)
        try ends.carry()
        let frame = random.bytes(8 << 20)
        var kept = 0
        ends.client.write(bytes: frame) { kept += 1 }
        ends.client.write("after") { kept += 1 }
        #expect(ends.client.writability == [false])
        var pieces = 0
        while let piece = ends.client.socket.take(32 << 10) {
            try ends.server.receive(piece)
            pieces += 1
            if ends.server.received.readableBytes < frame.count { #expect(kept == 0) }
        }
        #expect(ends.client.socket.most <= SmallSocket.high + (128 << 10))
        #expect(ends.client.writability == [false, true], "only once nothing waits")
        #expect(ends.server.received.readableBytesView.elementsEqual(frame + Array("after".utf8)))
        #expect(kept == 2)
    }

    @Test("Those above may write, flush and close whenever they are called")
    func reentrancy() throws {
        let ends = try Ends(certificates)
        ends.server.onRead = { end in
            end.write("echo ") { end.write("and more") { end.close() } }
        }
        ends.client.onKnown = { end in end.write("first ") }
        try ends.carry(piece: 700)
        #expect(ends.client.text == "echo and more" && ends.server.text == "first ")
        #expect(ends.client.events == ["known", "inactive"] && ends.server.events == ["known", "inactive"])
        #expect(ends.server.isClosed == true)

        // An end that is closed while it is told what came hears no more.
        let closing = try Ends(certificates)
        closing.server.onRead = { $0.close() }
        try closing.carry()
        closing.client.write("a")
        closing.client.write("b")
        try closing.carry()
        #expect(closing.server.isClosed == true && closing.client.events == ["known", "inactive"])

        // One that gives the connection up in its first call hears nothing more but the end.
        let aborting = try Ends(certificates)
        aborting.server.onKnown = { $0.channel.abortConnection() }
        aborting.client.write("unheard")
        try aborting.carry()
        #expect(aborting.server.text.isEmpty && aborting.server.events == ["known", "truncated", "inactive"])
    }

    @Test("Any pieces, any lengths, any pauses: each side has what the other has written")
    func anything() throws {
        var random = Seeded.fresh()
        for _ in 0..<30 {
            let ends = try Ends(certificates)
            var written = (client: [UInt8](), server: [UInt8]())
            for _ in 0..<60 {
                let bytes = random.bytes(
                    [0, 1, 16383, 16384, 16385, Int.random(in: 0...300_000, using: &random)].randomElement(
                        using: &random)!)
                switch Int.random(in: 0..<6, using: &random) {
                case 0:
                    written.client += bytes
                    ends.client.write(bytes: bytes, isFlushed: random.chance(50))
                case 1:
                    written.server += bytes
                    ends.server.write(bytes: bytes, isFlushed: random.chance(50))
                case 2: ends.client.channel.flush()
                case 3: ends.server.channel.flush()
                default:
                    let isClients = random.chance(50)
                    let (from, to) = isClients ? (ends.client, ends.server) : (ends.server, ends.client)
                    if let piece = from.socket.take(Int.random(in: 1...200_000, using: &random)) {
                        try to.receive(piece)
                    }
                }
            }
            ends.client.channel.flush()
            ends.server.channel.flush()
            try ends.carry(piece: Int.random(in: 1000...100_000, using: &random))
            #expect(ends.server.received.readableBytesView.elementsEqual(written.client))
            #expect(ends.client.received.readableBytesView.elementsEqual(written.server))
            ends.client.close()
            ends.server.close()
            try ends.carry()
            #expect(ends.client.isClosed == true && ends.server.isClosed == true)
            #expect(ends.client.events == ["known", "inactive"] && ends.server.events == ["known", "inactive"])
            #expect(ends.client.failedWrites == 0 && ends.server.failedWrites == 0)
        }
    }
}

/// A client and a server with a test between them.
private final class Ends {
    let client: End
    let server: End

    init(_ certificates: PeerCertificates) throws {
        client = try End(
            TLSHandler(client: certificates.client(), connectingTo: LinkSide.name(of: PeerAddress("localhost:1")!)))
        server = try End(TLSHandler(server: certificates.server()))
    }

    /// Carries all that moves, both ways.
    func carry(piece: Int = .max) throws {
        while true {
            let forth = try carry(from: client, to: server, piece: piece)
            let back = try carry(from: server, to: client, piece: piece)
            if !forth && !back { return }
        }
    }

    @discardableResult
    func carry(from: End, to: End, piece: Int = .max) throws -> Bool {
        var hasMoved = false
        while let bytes = from.socket.take(piece) {
            hasMoved = true
            try to.receive(bytes)
        }
        from.channel.embeddedEventLoop.run()
        to.channel.embeddedEventLoop.run()
        return hasMoved
    }
}

/// One end of a connection: a socket that the test empties, the handler, and a record of what it tells.
private final class End {
    let channel = EmbeddedChannel()
    let socket: SmallSocket
    private let handler: TLSHandler
    private let recorder = Recorder()
    private(set) var isClosed: Bool?
    private(set) var failedWrites = 0

    var onKnown: (End) -> Void = { _ in }
    var onRead: (End) -> Void = { _ in }

    init(_ handler: TLSHandler) throws {
        self.handler = handler
        socket = SmallSocket(channel)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        try channel.connect(to: address).wait()
        recorder.end = self
        try channel.pipeline.syncOperations.addHandlers(socket, TrafficCounter(Traffic()), recorder)
        try channel.pipeline.syncOperations.addHandler(handler, position: .before(recorder))
    }

    var events: [String] { recorder.events }
    var writability: [Bool] { recorder.writability }
    var received: ByteBuffer { recorder.received }
    var text: String { String(buffer: recorder.received) }
    var certificate: [UInt8]? { handler.peerCertificate }

    func write(_ text: String, _ kept: @escaping () -> Void = {}) {
        write(bytes: Array(text.utf8), kept)
    }

    func write(bytes: [UInt8], isFlushed: Bool = true, _ kept: @escaping () -> Void = {}) {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [self] result in
            if case .success = result { kept() } else { failedWrites += 1 }
        }
        channel.write(ByteBuffer(bytes: bytes), promise: promise)
        if isFlushed { channel.flush() }
    }

    func receive(_ bytes: ByteBuffer) throws {
        guard channel.isActive else { return }
        channel.pipeline.fireChannelRead(bytes)
        channel.pipeline.fireChannelReadComplete()
        channel.embeddedEventLoop.run()
    }

    func close() {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [self] result in
            if case .success = result { isClosed = true } else { isClosed = isClosed ?? false }
        }
        channel.close(promise: promise)
    }

    /// The socket has gone without a word of TLS.
    func cut() throws {
        channel.abortConnection()
        channel.embeddedEventLoop.run()
    }
}

private final class Recorder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    weak var end: End?
    private(set) var events: [String] = []
    private(set) var writability: [Bool] = []
    private(set) var received = ByteBuffer()

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is TLSUserEvent else { return }
        events.append("known")
        if let end { end.onKnown(end) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        received.writeBuffer(&bytes)
        if let end { end.onRead(end) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { events.append("\(error)") }

    func channelInactive(context: ChannelHandlerContext) { events.append("inactive") }

    func channelWritabilityChanged(context: ChannelHandlerContext) { writability.append(context.channel.isWritable) }
}

/// Has room for a little, as a socket has.
private final class SmallSocket: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    static let high = 64 << 10
    private static let low = 32 << 10

    private let channel: EmbeddedChannel
    private var held = ByteBuffer()
    private var promises: [(end: Int, promise: EventLoopPromise<Void>)] = []
    private var total = 0
    private(set) var most = 0

    init(_ channel: EmbeddedChannel) {
        self.channel = channel
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        var bytes = Self.unwrapOutboundIn(data)
        total += bytes.readableBytes
        held.writeBuffer(&bytes)
        most = max(most, held.readableBytes)
        if let promise { promises.append((total, promise)) }
        guard held.readableBytes > Self.high, channel.isWritable else { return }
        channel.isWritable = false
        context.fireChannelWritabilityChanged()
    }

    func flush(context: ChannelHandlerContext) {}

    /// The oldest ciphertext that was sent, at most so many bytes; nil if there is none.
    func take(_ count: Int = .max) -> ByteBuffer? {
        let bytes = held.readSlice(length: min(count, held.readableBytes))
        held.discardReadBytes()
        let kept = promises.prefix { $0.end <= total - held.readableBytes }
        promises.removeFirst(kept.count)
        for entry in kept { entry.promise.succeed() }
        if held.readableBytes < Self.low, !channel.isWritable {
            channel.isWritable = true
            channel.pipeline.fireChannelWritabilityChanged()
        }
        return bytes.flatMap { $0.readableBytes > 0 ? $0 : nil }
    }
}
