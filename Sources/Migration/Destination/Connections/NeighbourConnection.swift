import MigrationProtocol
import NIOCore
import Peer

/// A connection on which another host of the site reads images of this one.
struct NeighbourConnection: Sendable {
    /// The longest time without a request.
    private static let idleLimit = Duration.seconds(120)

    let context: DestinationContext
    let hello: Hello
    let connection: PeerConnection
    /// Nil if this node is in no site.
    let lender: (any NeighbourLender)?
    let pace: LendingPace

    /// Answers until the other host ends the connection.
    /// - Throws: if the other host is not of the site, if it sends what can't stand there, or if the link fails.
    func run(_ frames: inout PeerFrames) async throws {
        guard let lender else { throw MigrationError.refused("it is in no site; start it with --site") }
        guard lender.isMember(hello.export, connection.peer) else {
            throw MigrationError.refused("its site has no host '\(hello.export)' with this certificate")
        }
        try await context.registry.beginLending(for: connection.peer)
        let result: Result<Void, any Error>
        do { result = .success(try await lend(&frames, lender)) } catch { result = .failure(error) }
        await context.registry.endLending(for: connection.peer)
        try result.get()
    }

    private func lend(_ frames: inout PeerFrames, _ lender: any NeighbourLender) async throws {
        try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
        let timeout = IdleTimeout(Self.idleLimit, for: connection)
        defer { timeout.end() }
        while let frame = try await frames.next() {
            guard case .neighbourRead(let read) = try Message(frame: frame) else {
                throw MigrationError.unexpected("no request for a neighbour's bytes")
            }
            timeout.renew()
            try await Task.sleep(until: pace.book(Int(read.length)), clock: .continuous)
            let payload = try await context.pools.lending.runIfActive { bytes(for: read, lender) }
            try await connection.send(Message.neighbourBytes(NeighbourBytes(id: read.id, payload: payload)).encoded())
        }
    }

    private func bytes(for read: NeighbourRead, _ lender: any NeighbourLender) -> ByteBuffer {
        var payload = ByteBuffer()
        payload.writeWithUnsafeMutableBytes(minimumWritableBytes: Int(read.length)) { room in
            let part = UnsafeMutableRawBufferPointer(rebasing: room[..<Int(read.length)])
            return lender.read(read.table, into: part, at: read.offset)
        }
        return payload
    }
}
