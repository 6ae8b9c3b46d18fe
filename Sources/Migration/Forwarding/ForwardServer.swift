import Block
import Glibc
import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// The destination's side of a `ForwardLink`: performs requests of the source's clients on the disk.
struct ForwardServer: Sendable {
    /// Requests of one link that are worked on at once; further ones wait on the link, as they do beyond
    /// `PeerLimits.forwardedBytesPerLink`.
    private static let maximumRequests = 256

    let reader: ForwardReader
    let client: DiskClient
    let losses: LossCount
    /// What the link shares with the others of its peer.
    let budget: ByteBudget
    private var connection: PeerConnection { reader.connection }

    /// What a request that is worked on takes.
    private struct Cost: Sendable {
        var bytes = 0
        /// Those of them that are the budget's.
        var shared = 0
    }

    /// Serves what has come in `first` and what follows until the link ends; on return nothing of it is in flight any more.
    func run(
        _ first: ForwardReader.Arrival, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        let taker = BudgetTaker(budget)
        connection.whenClosed { taker.close() }
        try await withThrowingTaskGroup(of: Int.self) { group in
            var requests = 0
            var bytes = 0
            /// Taken for a long frame that is still to come.
            var ahead: Cost?
            func giveBackAhead() {
                if let taken = ahead { taker.giveBack(taken.shared) }
                ahead = nil
            }
            defer { giveBackAhead() }
            /// Waits until there is room for so many bytes more.
            func take(_ count: Int) async throws -> Cost {
                while requests >= Self.maximumRequests
                    || (bytes > 0 && bytes + count > PeerLimits.forwardedBytesPerLink)
                {
                    bytes -= try await group.next() ?? 0
                    requests -= 1
                }
                // Of a link whose disk does not answer, the others of its peer are independent for small requests.
                if bytes + count <= PeerLimits.ownForwardedBytes { return Cost(bytes: count) }
                guard try await taker.take(count) else { throw PeerError.cut }
                return Cost(bytes: count, shared: count)
            }
            func begin(_ arrival: ForwardReader.Arrival) async throws {
                switch arrival {
                case .announced(let length):
                    giveBackAhead()
                    ahead = try await take(length)
                    connection.takeLongFrame()
                case .request(var request):
                    guard Self.isSane(request) else { throw MigrationError.unexpected("a malformed request") }
                    let cost: Cost
                    if let taken = ahead, taken.bytes >= Self.cost(request) {
                        cost = taken
                        ahead = nil
                    } else {
                        giveBackAhead()
                        cost = try await take(Self.cost(request))
                    }
                    requests += 1
                    bytes += cost.bytes
                    let written = Self.takePayload(of: &request)
                    group.addTask { [request] in
                        defer { taker.giveBack(cost.shared) }
                        // Until the kernel has it, the answer takes memory.
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

    /// The bytes to be written, which are held once: in aligned memory, as they are best written from. Nil where the request
    /// has none.
    private static func takePayload(of request: inout ForwardRequest) -> BlockBuffer? {
        guard request.kind == .write else { return nil }
        let memory = BlockBuffer(byteCount: max(1, cost(request)))
        request.payload.withUnsafeReadableBytes { memory.bytes.copyMemory(from: $0) }
        request.payload = ByteBuffer()
        return memory
    }

    /// Performs a request, and returns the answer as a frame. What a read takes beside that is free again on return.
    private func answer(_ request: ForwardRequest, _ written: BlockBuffer?) async throws -> ByteBuffer {
        let memory = written ?? BlockBuffer(byteCount: max(1, Self.cost(request)))
        var error = await client.perform(
            request.kind, offset: request.offset, length: request.length, buffer: memory.bytes.baseAddress,
            forced: request.isForced, mayPunchHole: request.mayPunchHole)
        if error == ESHUTDOWN {
            // This node ends, or no longer has the disk: no answer, so that the source asks whoever comes next.
            connection.close()
            throw PeerError.cut
        }
        if request.kind == .flush {
            error = await reader.site.outcome(ofFlush: error, for: reader.migration, losses)
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
