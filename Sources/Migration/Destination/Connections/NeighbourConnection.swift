import Index
import MigrationProtocol
import NIOCore
import Peer

/// A connection on which another host of the site reads images of this one.
struct NeighbourConnection: Sendable {
    /// The longest time without the first request, with which the connection takes its place, and without a further one.
    private static let (firstLimit, idleLimit) = (Duration.seconds(20), Duration.seconds(120))

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
            SiteMetrics.countRefusal()
            throw MigrationError.refused("its site has no host '\(hello.export)' with this certificate")
        }
        var taken: Set<LoanPurpose> = []
        let result: Result<Void, any Error>
        do { result = .success(try await lend(&frames, lender, &taken)) } catch { result = .failure(error) }
        for purpose in taken { await context.registry.endLending(for: connection.peer, purpose) }
        try result.get()
    }

    private func lend(
        _ frames: inout PeerFrames, _ lender: any NeighbourLender, _ taken: inout Set<LoanPurpose>
    ) async throws {
        try await connection.send(Message.welcome(Welcome(blockSize: 0)).encoded())
        // A question that waits for a disk hears of it.
        let shared = context.registry.shared
        connection.whenClosed { shared.recheck() }
        let timeout = IdleTimeout(Self.firstLimit, for: connection)
        defer { timeout.end() }
        while let frame = try await frames.next() {
            timeout.renew(Self.idleLimit)
            let message = try Message(frame: frame)
            try await takePlace(for: message, &taken)
            let answer: Message
            switch message {
            case .neighbourRead(let read):
                try await wait(toLend: Int(read.length))
                let payload = try await context.pools.lending.runIfActive { bytes(for: read, lender) }
                SiteMetrics.countLent(payload.readableBytes)
                answer = .neighbourBytes(NeighbourBytes(id: read.id, payload: payload))
            case .arrivalQuestion(let question):
                context.arrivals?.hear(hello.export)
                answer = .arrivalAnswer(await shared.answer(question) { [connection] in connection.isOpen })
            case .arrivalRead(let read):
                try await wait(toLend: read.prefixes.count * Int(read.blockSize))
                let bytes = try await context.pools.lending.runIfActive { shared.read(read) }
                SiteMetrics.countLent(bytes.payload.readableBytes)
                answer = .arrivalBytes(bytes)
            default:
                throw MigrationError.unexpected("no request for a neighbour's bytes")
            }
            try await connection.send(answer.encoded())
        }
    }

    /// Takes the connection's place with the first request for a purpose: the hello does not tell the purposes apart.
    private func takePlace(for request: Message, _ taken: inout Set<LoanPurpose>) async throws {
        guard let purpose = LoanPurpose(request), !taken.contains(purpose) else { return }
        do { try await context.registry.beginLending(for: connection.peer, purpose) } catch {
            SiteMetrics.countRefusal()
            throw error
        }
        taken.insert(purpose)
        connection.allowOrdinaryFrames()
    }

    private func wait(toLend count: Int) async throws {
        try await Task.sleep(until: pace.book(count), clock: .continuous)
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
