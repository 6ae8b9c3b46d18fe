import Glibc
import MigrationCore
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// A connection that brings a part of a guest's memory: performs what `MemoryDestinationMachine` orders for each message.
struct MemoryConnection: Sendable {
    let context: DestinationContext
    let hello: Hello
    let connection: PeerConnection
    /// The folder of hypervisors; nil if this node takes no memory.
    let directory: MemoryDirectory?

    /// Carries the memory until the source has ended the connection.
    /// - Throws: if no hypervisor waits; if the link or the hypervisor fails; if the source sends what can't stand there.
    func run(_ frames: inout PeerFrames) async throws {
        guard let directory else {
            throw MigrationError.refused("it takes no memory of guests; start it with --memory-dir")
        }
        try await context.registry.beginMemory(for: connection.peer)
        let result: Result<Void, any Error>
        do { result = .success(try await carry(&frames, to: directory)) } catch {
            context.logger.warning("the memory of \(hello.export) did not arrive: \(DestinationContext.reason(error))")
            result = .failure(error)
        }
        await context.registry.endMemory(for: connection.peer)
        try result.get()
    }

    private func carry(_ frames: inout PeerFrames, to directory: MemoryDirectory) async throws {
        try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
        var machine = MemoryDestinationMachine()
        let offer = try await readOffer(&machine, &frames)
        let hypervisor = try await connect(to: directory)
        // The channel must be run once it is wrapped, whatever fails now.
        let received = try await hypervisor.executeThenClose { inbound, outbound in
            let receiver = try await open(offer)
            context.logger.info("the memory of \(hello.export) is arriving from \(connection.peer)")
            try await connection.perform(
                beside: [{ try await giveBack(inbound) }], farewell: { .failed(reason: $0) }
            ) {
                try await take(&frames, &machine, receiver, hypervisor, outbound)
            }
            return receiver.tally.stream
        }
        context.logger.info("the memory of \(hello.export) has arrived: \(received) bytes")
    }

    // MARK: The beginning

    private func readOffer(
        _ machine: inout MemoryDestinationMachine, _ frames: inout PeerFrames
    ) async throws -> MemoryOffer {
        let timeout = IdleTimeout(DestinationContext.offerLimit, for: connection)
        defer { timeout.end() }
        guard let frame = try await frames.next() else { throw PeerError.cut }
        guard case .open(let offer) = try machine.receive(try Message(frame: frame)) else {
            throw MigrationError.unexpected("no offer of memory")
        }
        return offer
    }

    private func connect(to directory: MemoryDirectory) async throws -> HypervisorChannel {
        try await directory.withSocket(of: hello.export) { path in
            do {
                return try await ClientBootstrap(group: connection.eventLoop).connect(unixDomainSocketPath: path) {
                    channel in channel.eventLoop.makeCompletedFuture { try HypervisorChannel.wrap(channel) }
                }
            } catch {
                let reason = error.plainReason
                throw MigrationError.refused("the hypervisor of '\(hello.export)' does not answer there: \(reason)")
            }
        }
    }

    private func open(_ offer: MemoryOffer) async throws -> MemoryReceiver {
        var disks: [MemoryDisk] = []
        for disk in offer.disks {
            disks.append(MemoryDisk(image: await context.registry.image(of: disk, for: connection.peer)))
        }
        let kept = try KeptPages(
            capacity: MemoryStreamParameters.history, directory: context.registry.scratch)
        let receiver = try MemoryReceiver(disks: disks, kept: kept)
        connection.allowOrdinaryFrames()
        let readable = disks.map { $0.image != nil }
        let answer = MemoryMessage.accepted(history: UInt32(kept.capacity), readable: readable)
        try await connection.send(Message.memory(answer).encoded())
        return receiver
    }

    // MARK: The stream

    private func take(
        _ frames: inout PeerFrames, _ machine: inout MemoryDestinationMachine, _ receiver: MemoryReceiver,
        _ hypervisor: HypervisorChannel, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        while let frame = try await frames.next() {
            var action = Optional(try machine.receive(try Message(frame: frame)))
            while let next = action {
                try await perform(next, &machine, receiver, hypervisor, outbound)
                action = machine.next()
            }
        }
        guard machine.isEnded else { throw PeerError.cut }
    }

    private func perform(
        _ action: MemoryDestinationMachine.Action, _ machine: inout MemoryDestinationMachine,
        _ receiver: MemoryReceiver, _ hypervisor: HypervisorChannel,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        switch action {
        case .unpack(let batch):
            let bytes = try await context.pools.urgent.runIfActive { try receiver.unpack(batch) }
            guard let bytes else {
                return try await connection.send(Message.memory(.again(batch: machine.askAgain())).encoded())
            }
            try await deliver(bytes, &machine, hypervisor)
        case .repair(let repair):
            let bytes = try await context.pools.urgent.runIfActive { try receiver.repair(repair) }
            try await deliver(bytes, &machine, hypervisor)
        case .end(let byteCount, let digest):
            try receiver.end(byteCount: byteCount, digest: digest)
            machine.end()
            outbound.finish()
            try await connection.send(Message.memory(.ended).encoded())
        case .open: preconditionFailure("the machine takes one offer")
        case .wait: break
        }
    }

    private func deliver(
        _ bytes: ByteBuffer, _ machine: inout MemoryDestinationMachine, _ hypervisor: HypervisorChannel
    ) async throws {
        do { try await hypervisor.writeWhole(bytes) } catch {
            throw MigrationError.refused("the hypervisor of '\(hello.export)' has hung up there")
        }
        try await connection.send(Message.memory(.delivered(batches: machine.deliver())).encoded())
    }

    /// Sends what the hypervisor says to the one at the source.
    private func giveBack(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) async throws {
        var said = inbound.makeAsyncIterator()
        while var bytes = try await next(&said) {
            while let part = bytes.readSlice(length: min(bytes.readableBytes, MemoryMessage.maximumBack)),
                part.readableBytes > 0
            {
                try await connection.send(Message.memory(.back(part)).encoded())
            }
        }
        try await connection.send(Message.memory(.backEnd).encoded())
    }

    private func next(_ said: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator) async throws -> ByteBuffer?
    {
        do { return try await said.next() } catch is IOError {
            throw MigrationError.refused("the hypervisor of '\(hello.export)' has hung up there")
        }
    }
}
