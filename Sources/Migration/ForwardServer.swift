import Block
import Glibc
import NIOCore
import Peer

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
        try await withThrowingTaskGroup(of: Int.self) { group in
            var requests = 0
            var bytes = 0
            /// Taken for a long frame that is still to come.
            var ahead: Cost?
            func giveBackAhead() {
                if let taken = ahead { budget.giveBack(taken.shared) }
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
                guard try await budget.take(count, while: { connection.isOpen }) else { throw PeerError.cut }
                return Cost(bytes: count, shared: count)
            }
            var next: ForwardReader.Arrival? = first
            while let arrival = next {
                switch arrival {
                case .announced(let length):
                    giveBackAhead()
                    ahead = try await take(length)
                    connection.takeLongFrame()
                case .request(let request):
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
                    group.addTask {
                        defer { budget.giveBack(cost.shared) }
                        try await answer(request)
                        return cost.bytes
                    }
                }
                next = try await reader.next(&frames)
            }
            try await group.waitForAll()
        }
    }

    private func answer(_ request: RemoteRequest) async throws {
        let count = Int(Self.cost(request))
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 4096)
        defer { memory.deallocate() }
        if request.kind == .write { request.payload.withUnsafeReadableBytes { memory.copyMemory(from: $0) } }
        var error = await client.perform(
            request.kind, offset: request.offset, length: request.length, buffer: memory.baseAddress,
            forced: request.isForced, mayPunchHole: request.mayPunchHole)
        if error == ESHUTDOWN {
            // This node ends, or no longer has the disk: no answer, so that the source asks whoever comes next.
            connection.close()
            throw PeerError.cut
        }
        if request.kind == .flush {
            error = await reader.site.outcome(ofFlush: error, for: reader.migration, losses)
        }
        var payload = ByteBuffer()
        if request.kind == .read && error == 0 {
            payload.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(memory)[..<count]))
        }
        try await connection.send(
            Message.answer(RemoteAnswer(id: request.id, error: error, payload: payload)).encoded())
    }

    /// Bytes of memory that a request takes.
    private static func cost(_ request: RemoteRequest) -> Int {
        request.kind.carriesData ? Int(request.length) : 0
    }

    private static func isSane(_ request: RemoteRequest) -> Bool {
        let limit = UInt64(PeerConnection.maximumFrame - 1024)
        switch request.kind {
        case .write: return request.length <= limit && request.payload.readableBytes == Int(request.length)
        case .read: return request.length <= limit && request.payload.readableBytes == 0
        case .flush, .trim, .writeZeroes: return request.payload.readableBytes == 0
        case .cache, .status: return false
        }
    }
}
