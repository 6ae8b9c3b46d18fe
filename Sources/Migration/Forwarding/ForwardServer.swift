import Block
import Glibc
import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// The destination's side of a `ForwardLink`: performs requests of the source's clients on the disk.
struct ForwardServer: Sendable {
    /// The most requests of one link in progress. Further ones wait on the link, as they do beyond
    /// `PeerLimits.forwardedBytesPerLink`.
    private static let maximumRequests = 256

    let reader: ForwardReader
    let client: DiskClient
    let losses: LossCount
    /// The memory that the link shares with the others of its peer.
    let budget: ByteBudget
    private var connection: PeerConnection { reader.connection }

    /// The memory that a request in progress takes.
    private struct Cost: Sendable {
        var bytes = 0
        /// The part of them that was taken from the budget.
        var shared = 0
    }

    /// Serves the first request and those that follow until the link ends. On return none is in flight.
    func run(
        _ first: ForwardReader.Arrival, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        let taker = BudgetTaker(budget)
        connection.whenClosed { taker.close() }
        try await withThrowingTaskGroup(of: Int.self) { group in
            var requests = 0
            var bytes = 0
            /// The memory of a long frame that is still to come.
            var ahead: Cost?
            func giveBackAhead() {
                if let taken = ahead { taker.giveBack(taken.shared) }
                ahead = nil
            }
            defer { giveBackAhead() }
            /// Waits until there is room for so many bytes more.
            func acquire(_ count: Int) async throws -> Cost {
                while requests >= Self.maximumRequests
                    || (bytes > 0 && bytes + count > PeerLimits.forwardedBytesPerLink)
                {
                    bytes -= try await group.next() ?? 0
                    requests -= 1
                }
                // Small requests need no budget, so that a link whose disk does not answer can't hold up the peer's others.
                if bytes + count <= PeerLimits.ownForwardedBytes { return Cost(bytes: count) }
                guard try await taker.acquire(count) else { throw PeerError.cut }
                return Cost(bytes: count, shared: count)
            }
            func begin(_ arrival: ForwardReader.Arrival) async throws {
                switch arrival {
                case .announced(let length):
                    giveBackAhead()
                    ahead = try await acquire(length)
                    connection.takeLongFrame()
                case .request(var request):
                    guard Self.isSane(request) else { throw MigrationError.unexpected("a malformed request") }
                    let cost: Cost
                    if let taken = ahead, taken.bytes >= Self.cost(request) {
                        cost = taken
                        ahead = nil
                    } else {
                        giveBackAhead()
                        cost = try await acquire(Self.cost(request))
                    }
                    requests += 1
                    bytes += cost.bytes
                    let written = Self.movePayload(of: &request)
                    group.addTask { [request] in
                        defer { taker.giveBack(cost.shared) }
                        // The answer takes memory until the kernel has it.
                        try await connection.sendWhole(try await answer(request, written))
                        return cost.bytes
                    }
                }
            }
            try await begin(first)
            while let arrival = try await reader.next(&frames) { try await begin(arrival) }
            try await group.waitForAll()
        }
    }

    /// Moves the bytes of a write into aligned memory, so that they are held once; nil for other requests.
    private static func movePayload(of request: inout ForwardRequest) -> BlockBuffer? {
        guard request.kind == .write else { return nil }
        let memory = BlockBuffer(byteCount: max(1, cost(request)))
        request.payload.withUnsafeReadableBytes { memory.bytes.copyMemory(from: $0) }
        request.payload = ByteBuffer()
        return memory
    }

    /// Performs a request, and returns the answer as a frame. Other memory of a read is free again on return.
    private func answer(_ request: ForwardRequest, _ written: BlockBuffer?) async throws -> ByteBuffer {
        let memory = written ?? BlockBuffer(byteCount: max(1, Self.cost(request)))
        var error = await client.perform(
            request.kind, offset: request.offset, length: request.length, buffer: memory.bytes.baseAddress,
            forced: request.isForced, mayPunchHole: request.mayPunchHole)
        if error == ESHUTDOWN {
            // This node ends, or no longer has the disk. Without an answer the source repeats the request on its next
            // connection.
            connection.close()
            throw PeerError.cut
        }
        if request.kind == .flush {
            error = await reader.registry.outcome(ofFlush: error, for: reader.migration, losses)
        }
        let count = request.kind == .read && error == 0 ? Self.cost(request) : 0
        return ForwardAnswer.frame(id: request.id, error: error, payload: UnsafeRawBufferPointer(memory.prefix(count)))
    }

    /// Bytes of memory that a request takes.
    private static func cost(_ request: ForwardRequest) -> Int {
        request.kind.carriesData ? Int(request.length) : 0
    }

    private static func isSane(_ request: ForwardRequest) -> Bool {
        let limit = UInt64(PeerConnection.maximumFrame - 1024)
        switch request.kind {
        case .write: return request.length <= limit && request.payload.readableBytes == Int(request.length)
        case .read: return request.length <= limit && request.payload.readableBytes == 0
        case .flush, .trim, .writeZeroes: return request.payload.readableBytes == 0
        case .cache, .status: return false
        }
    }
}
