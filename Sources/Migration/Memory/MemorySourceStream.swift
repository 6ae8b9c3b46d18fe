import Logging
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer
import PeerModel

/// Carries one connection of a hypervisor to the destination. `MemorySourceMachine` judges the destination's messages, and
/// `MemoryPacker` packs the stream.
final class MemorySourceStream: Sendable {
    /// The parts that all connections of a guest share.
    struct Context: Sendable {
        let name: String
        let destination: PeerAddress
        let finder: PageFinder
        let transport: PeerTransport
        let pools: WorkPools
        let rate: RateLimit
        let logger: Logger
        /// Finds the pages of a stream.
        let parser: @Sendable () -> any StreamParser
    }

    struct State {
        var machine: MemorySourceMachine
        /// The bytes of batches that have not been delivered, the oldest first.
        var kept = CircularBuffer<ByteBuffer>()
        var tally = MemoryTally()
        var connection: PeerConnection?
        /// Bytes that crossed on an earlier connection.
        var wire: UInt64 = 0
        /// The reason why pages are not looked for; nil if they are.
        var problem: String?
        /// References that turned out wrong.
        var repairs = 0
        var stage = MemoryStage.preCopy
        /// The hypervisor's connection, while it is carried.
        var hypervisor: (any Channel)?
    }

    /// Bytes that are read from the hypervisor at once, in post-copy; NIO reads some four times ahead.
    private static let urgentRead = 16 << 10

    let context: Context
    /// Called once the hypervisor at the destination is connected.
    private let opened: @Sendable () -> Void
    let state: NIOLockedValueBox<State>
    let inbox = MemoryInbox()
    /// Says that more may be under way, or that the link has ended.
    let room = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    /// Receives the terms of the destination once it has accepted.
    private let terms = AsyncStream.makeStream(of: MemorySender.Terms.self)

    /// - Parameter opened: called once the hypervisor at the destination is connected, from any thread.
    init(_ context: Context, opened: @escaping @Sendable () -> Void) {
        self.context = context
        self.opened = opened
        state = NIOLockedValueBox(State(machine: MemorySourceMachine(disks: context.finder.disks.count)))
    }

    /// The pages so far, bytes on the link, and why pages are not looked for.
    var progress: (tally: MemoryTally, wire: UInt64, problem: String?) {
        state.withLockedValue { state in
            let traffic = state.connection?.traffic
            return (state.tally, state.wire + (traffic.map { $0.sent + $0.received } ?? 0), state.problem)
        }
    }

    /// Carries the connection to its end. The caller closes it.
    /// - Throws: what went wrong; the hypervisor at the destination has not got everything then.
    func run(_ hypervisor: HypervisorChannel) async throws {
        state.withLockedValue { $0.hypervisor = hypervisor.channel }
        try await hypervisor.executeThenClose { inbound, outbound in
            try await PeerConnection.connect(to: context.destination, on: context.transport) { [self] connection in
                defer { ended(connection) }
                try await run(inbound, outbound, of: hypervisor, over: connection)
            }
        }
    }

    private func run(
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>,
        of hypervisor: HypervisorChannel, over connection: PeerConnection
    ) async throws {
        state.withLockedValue { $0.connection = connection }
        var frames = connection.inbound.makeAsyncIterator()
        let hello = Hello(purpose: .memory, migration: MigrationID(), export: context.name)
        let welcome = try await connection.greet(hello, &frames)
        let agreement = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
        guard agreement.capabilities.contains(.memory) else {
            throw MigrationError.refused("its release takes no memory of guests; run the same release on both sides")
        }
        let offer = MemoryOffer(disks: context.finder.disks.map(\.name))
        try await connection.send(Message.memory(.offer(offer)).encoded())
        let companions: [@Sendable () async throws -> Void] = [
            { [self] in try await take(inbound) }, { [self] in try await send(over: connection) },
        ]
        try await connection.perform(beside: companions, farewell: { .cancel(reason: $0) }) {
            try await receive(&frames, outbound, over: connection)
        }
        hypervisor.channel.closeFuture.whenComplete { _ in connection.end() }
        await giveBackRest(&frames, outbound)
    }

    private func ended(_ connection: PeerConnection) {
        state.withLockedValue { state in
            state.connection = nil
            state.hypervisor = nil
            state.wire += connection.traffic.sent + connection.traffic.received
        }
        room.continuation.finish()
        terms.continuation.finish()
    }

    // MARK: From the hypervisor

    private func take(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) async throws {
        for try await chunk in inbound { try await inbox.put(chunk) }
        inbox.end()
    }

    /// Takes less from the hypervisor at once: a page that the guest waits for comes behind what has been taken.
    func enter(_ stage: MemoryStage) {
        let hypervisor = state.withLockedValue { state in
            state.stage = stage
            return state.hypervisor
        }
        inbox.limit(to: stage.waitingBytes)
        _ = hypervisor?.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.urgentRead))
        guard stage == .postCopy else { return }
        context.logger.info("\(context.name): the guest runs at the destination, and its memory follows")
    }

    private func send(over connection: PeerConnection) async throws {
        var accepted = terms.stream.makeAsyncIterator()
        guard let terms = await accepted.next() else { return }
        try await MemorySender(stream: self, terms: terms, connection: connection).run()
    }

    // MARK: From the destination

    private func receive(
        _ frames: inout PeerFrames, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>,
        over connection: PeerConnection
    ) async throws {
        while let frame = try await frames.next() {
            let action = try state.withLockedValue { try $0.machine.receive(try Message(frame: frame)) }
            switch action {
            case .begin(let history, let readable):
                opened()
                terms.continuation.yield(MemorySender.Terms(history: history, readable: readable))
            case .release(let count):
                state.withLockedValue { state in
                    let waiting = Int(state.machine.window.sent - count)
                    while state.kept.count > waiting { state.kept.removeFirst() }
                }
                room.continuation.yield()
            case .repair: try await repair(over: connection)
            case .giveBack(let bytes): try await outbound.write(ByteBuffer(bytes: bytes))
            case .endBack: outbound.finish()
            case .finish: return
            }
        }
        throw PeerError.cut
    }

    /// Passes on what the other hypervisor says behind the end of the stream, until one of the two hangs up.
    ///
    /// The memory is there, so nothing that fails now makes it fail.
    private func giveBackRest(
        _ frames: inout PeerFrames, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async {
        do {
            while state.withLockedValue({ $0.machine.isBackOpen }), let frame = try await frames.next() {
                switch try state.withLockedValue({ try $0.machine.receive(try Message(frame: frame)) }) {
                case .giveBack(let bytes): try await outbound.write(ByteBuffer(bytes: bytes))
                case .endBack: outbound.finish()
                case .begin, .release, .repair, .finish: return
                }
            }
        } catch {
            context.logger.debug("\(context.name): after the memory: \(error)")
        }
    }

    /// Sends the oldest batch that has not been delivered without references.
    private func repair(over connection: PeerConnection) async throws {
        let (bytes, stage) = state.withLockedValue { state in
            state.repairs += 1
            return (state.kept.first!, state.stage)
        }
        let compressed = try await context.pools.urgent.runIfActive {
            try bytes.withUnsafeReadableBytes { bytes in
                let compressor = try StreamCompressor(level: 1, windowLog: MemoryStreamParameters.windowLog)
                var piece = try compressor.compress(bytes, level: 1)
                piece.writeImmutableBuffer(try compressor.end())
                return piece
            }
        }
        context.logger.debug("\(context.name): a page of memory was not on its disk; sent as bytes")
        let frame = Message.memory(.repair(compressed)).encoded()
        try await context.rate.wait(for: frame.readableBytes, isAhead: stage != .preCopy) { connection.isOpen }
        try await connection.send(frame)
    }
}
