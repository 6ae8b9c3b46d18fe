import Block
import Glibc
import NIOCore
import Peer

/// The destination's side of a `ForwardLink`: performs requests of the source's clients on the disk.
struct ForwardServer: Sendable {
    /// Requests of one link that are worked on at once, and their bytes; further ones wait on the link.
    private static let maximumRequests = 256
    private static let maximumBytes = 64 << 20

    let reader: ForwardReader
    let client: DiskClient
    let losses: LossCount
    private var connection: PeerConnection { reader.connection }

    /// Serves the request in `first` and those that follow until the link ends; on return nothing of it is in flight
    /// any more.
    func run(
        _ first: RemoteRequest, _ frames: inout NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    ) async throws {
        try await withThrowingTaskGroup(of: Int.self) { group in
            var requests = 0
            var bytes = 0
            var next: RemoteRequest? = first
            while let request = next {
                guard Self.isSane(request) else { throw MigrationError.unexpected("a malformed request") }
                let cost = Self.cost(request)
                while requests >= Self.maximumRequests || (bytes > 0 && bytes + cost > Self.maximumBytes) {
                    bytes -= try await group.next() ?? 0
                    requests -= 1
                }
                requests += 1
                bytes += cost
                group.addTask {
                    try await answer(request)
                    return cost
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
