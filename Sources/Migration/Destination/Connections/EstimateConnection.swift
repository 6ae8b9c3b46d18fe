import MigrationCore
import MigrationProtocol
import Peer

/// A connection on which a source asks what moving a disk here would take.
struct EstimateConnection: Sendable {
    let context: DestinationContext
    let hello: Hello
    let connection: PeerConnection

    /// Answers questions until the source ends the connection.
    /// - Throws: if the disk would not be taken, or the link fails.
    func run(_ frames: inout PeerFrames) async throws {
        try await context.registry.beginEstimate(for: connection.peer)
        do {
            try await answer(&frames)
        } catch {
            await context.registry.endEstimate(for: connection.peer)
            throw error
        }
        await context.registry.endEstimate(for: connection.peer)
    }

    private func answer(_ frames: inout PeerFrames) async throws {
        let (index, blockSize) = try await context.welcome(connection)
        let timeout = IdleTimeout(DestinationContext.offerLimit, for: connection)
        defer { timeout.end() }
        var machine = DestinationMachine()
        var disk: EstimatedDisk?
        while let frame = try await frames.next() {
            timeout.renew()
            switch try machine.receive(try Message(frame: frame)) {
            case .open(let offer, let geometry):
                try offer.checkBlockSize(blockSize)
                let base = try await context.registry.existingImage(for: offer)
                context.warnAboutDomains(of: offer, in: index)
                disk = EstimatedDisk(
                    base: base, geometry: geometry, index: index?.restricted(for: offer)
                ) { [shared = context.registry.shared] in
                    shared.has($0, domains: Set(offer.domains), blockSize: geometry.blockSize)
                }
                connection.allowOrdinaryFrames()
                try await context.accept(hello, hasBase: base != nil, connection)
            case .compare(let summary):
                let differences = try await context.pools.background.runIfActive { [disk] in
                    try disk!.compare(summary)
                }
                try await connection.send(Message.differences(differences).encoded())
            case .resolve(let segment):
                let wants = try await context.pools.background.runIfActive { [disk] in try disk!.resolve(segment) }
                try await connection.send(Message.wants(wants).encoded())
            case .clear:
                break
            case .finishManifest:
                try await connection.send(Message.manifestDone.encoded())
            default:
                throw MigrationError.unexpected("more than a question")
            }
        }
    }
}
