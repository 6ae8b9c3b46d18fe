import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Peer

/// A small HTTP server for monitoring: GET of a few paths, one request for each connection.
///
/// Memory and descriptors are bounded, whatever clients do. The request's head is limited, and a client that is slow is
/// closed. A client too many displaces the one that has waited longest. Any thread may use it.
public final class WebServer: Sendable {
    /// Clients that have no answer yet.
    private static let clients = 32
    /// Clients that get events.
    private static let viewers = 16
    /// Answers that are being made, also for clients that have gone.
    private static let answers = 8
    /// Time for a request and its answer; for events, for each of them.
    private let patience: TimeAmount

    private let routes: [String: WebRoute]
    private let hosts: HostRule
    private let waiting: UnspokenClients
    private let open = NIOLockedValueBox(OpenChannels())
    private let policy: [(String, String)]

    private struct OpenChannels {
        var all: [ObjectIdentifier: any Channel] = [:]
        var viewers = 0
        var answers = 0
        var isStopped = false
    }

    /// Creates a server that listens nowhere yet.
    /// - Parameters:
    ///   - hosts: the Host headers that are answered.
    ///   - headers: headers of every answer.
    ///   - patience: time for a request and its answer; for events, for each of them.
    public init(
        routes: [WebRoute], hosts: HostRule, headers: [(String, String)] = [], patience: TimeAmount = .seconds(10)
    ) {
        self.patience = patience
        waiting = UnspokenClients(limit: Self.clients, patience: patience)
        self.routes = Dictionary(uniqueKeysWithValues: routes.map { ($0.path, $0) })
        self.hosts = hosts
        policy = headers
    }

    /// Listens at a host and port.
    /// - Returns: the port.
    /// - Throws: an error of NIO's if the address can't be had.
    public func listen(host: String, port: UInt16, on group: any EventLoopGroup) async throws -> UInt16 {
        let channel = try await bootstrap(group).bind(host: host, port: Int(port)).get()
        add(channel)
        return UInt16(clamping: channel.localAddress?.port ?? Int(port))
    }

    /// Listens at a socket, which it takes over.
    public func listen(on descriptor: CInt, on group: any EventLoopGroup) async throws {
        add(try await bootstrap(group).withBoundSocket(descriptor).get())
    }

    /// Closes the addresses and all connections.
    public func stop() async {
        let channels = open.withLockedValue { open in
            open.isStopped = true
            return Array(open.all.values)
        }
        for channel in channels { try? await channel.close().get() }
    }

    private func bootstrap(_ group: any EventLoopGroup) -> ServerBootstrap {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 8 << 10
        limits.maxHeaderListSize = 16 << 10
        limits.maxHeaderFieldCount = 64
        let decoderLimits = limits
        return ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withPipeliningAssistance: false, withEncoderConfiguration: .init(),
                        withDecoderLimitConfiguration: decoderLimits)
                    try channel.pipeline.syncOperations.addHandler(handler(of: channel))
                }
            }
    }

    private func handler(of channel: any Channel) -> WebRequestHandler {
        add(channel)
        let wait = waiting.begin(channel)
        channel.closeFuture.whenComplete { [waiting] _ in waiting.end(wait) }
        return WebRequestHandler { [self] head, channel in
            Task {
                try? await answer(head, channel, wait)
                try? await channel.close().get()
            }
        }
    }

    private func add(_ channel: any Channel) {
        let isStopped = open.withLockedValue { open in
            open.all[ObjectIdentifier(channel)] = channel
            return open.isStopped
        }
        channel.closeFuture.whenComplete { [open] _ in
            open.withLockedValue { $0.all[ObjectIdentifier(channel)] = nil }
        }
        if isStopped { channel.close(promise: nil) }
    }

    // MARK: Answers

    private func answer(_ head: HTTPRequestHead, _ channel: any Channel, _ wait: UnspokenClients.Wait) async throws {
        guard hosts.allows(head.headers["host"]) else {
            return try await refuse(channel, .misdirectedRequest, "this Host is not this server; ask it by its address")
        }
        guard head.method == .GET else {
            return try await refuse(channel, .methodNotAllowed, "only GET is answered", [("Allow", "GET")])
        }
        let path = head.uri.prefix { $0 != "?" }
        guard let route = routes[String(path)] else {
            let known = routes.keys.sorted().joined(separator: ", ")
            return try await refuse(channel, .notFound, "nothing is here; there is \(known)")
        }
        let hasRoom = open.withLockedValue { open in
            guard open.answers < Self.answers else { return false }
            open.answers += 1
            return true
        }
        guard hasRoom else {
            return try await refuse(channel, .serviceUnavailable, "too many requests; ask again later")
        }
        let answer = await route.answer()
        open.withLockedValue { $0.answers -= 1 }
        switch answer {
        case .document(let mediaType, let body):
            try await send(channel, .ok, mediaType, body)
        case .events(let events):
            waiting.end(wait)
            try await send(events, to: channel)
        }
    }

    private func refuse(
        _ channel: any Channel, _ status: HTTPResponseStatus, _ reason: String, _ headers: [(String, String)] = []
    ) async throws {
        try await send(channel, status, "text/plain; charset=utf-8", Array("\(reason)\n".utf8), headers)
    }

    private func send(
        _ channel: any Channel, _ status: HTTPResponseStatus, _ mediaType: String, _ body: [UInt8],
        _ headers: [(String, String)] = []
    ) async throws {
        var head = self.head(status, mediaType)
        head.headers.add(name: "Content-Length", value: "\(body.count)")
        head.headers.add(contentsOf: headers)
        channel.write(HTTPServerResponsePart.head(head), promise: nil)
        channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
        try await channel.writeAndFlush(HTTPServerResponsePart.end(nil)).get()
    }

    private func head(_ status: HTTPResponseStatus, _ mediaType: String) -> HTTPResponseHead {
        var headers = HTTPHeaders(policy)
        headers.add(name: "Content-Type", value: mediaType)
        headers.add(name: "Cache-Control", value: "no-store")
        headers.add(name: "X-Content-Type-Options", value: "nosniff")
        headers.add(name: "Connection", value: "close")
        return HTTPResponseHead(version: .http1_1, status: status, headers: headers)
    }

    // MARK: Events

    private func send(_ events: AsyncStream<String>, to channel: any Channel) async throws {
        let isFree = open.withLockedValue { open in
            guard open.viewers < Self.viewers else { return false }
            open.viewers += 1
            return true
        }
        guard isFree else {
            return try await refuse(channel, .serviceUnavailable, "\(Self.viewers) clients watch already; close one")
        }
        defer { open.withLockedValue { $0.viewers -= 1 } }
        try await channel.writeAndFlush(HTTPServerResponsePart.head(head(.ok, "text/event-stream"))).get()
        // The stream's consumer ends with the connection.
        let sending = Task {
            for await event in events {
                // A client that does not read gets no further event, and loses its connection.
                let deadline = channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
                defer { deadline.cancel() }
                let buffer = ByteBuffer(string: "data: \(event)\n\n")
                try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(buffer))).get()
            }
        }
        channel.closeFuture.whenComplete { _ in sending.cancel() }
        try await sending.value
    }
}
