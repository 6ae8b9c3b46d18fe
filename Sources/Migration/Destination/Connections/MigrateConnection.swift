import Block
import BlockModel
import Index
import MigrationCore
import MigrationProtocol
import Peer

/// A connection that brings a disk: performs what `DestinationMachine` orders for each message.
struct MigrateConnection: Sendable {
    let context: DestinationContext
    let hello: Hello
    let connection: PeerConnection
    /// The time for which the source may say nothing once it has made its offer.
    let limits: ArrivalIdleTimeout

    /// Takes messages until the disk is served here, or the migration is over.
    /// - Throws: if the migration fails before there is an offer.
    func run(_ frames: inout PeerFrames) async throws {
        let (index, blockSize) = try await context.welcome(connection)
        var arrival = IncomingMigration(context: context, hello: hello, connection: connection)
        (arrival.index, arrival.blockSize) = (index, blockSize)
        do {
            try await takeMessages(&arrival, &frames)
            await arrival.end(comesAgain: false)
        } catch {
            guard let offer = arrival.offer else { throw error }
            await end(&arrival, offer, &frames, error)
        }
    }

    private func takeMessages(_ arrival: inout IncomingMigration, _ frames: inout PeerFrames) async throws {
        var limits = limits
        var timeout = IdleTimeout(DestinationContext.offerLimit, for: connection)
        defer { timeout.end() }
        while let frame = try await frames.next() {
            if let offer = arrival.offer { try await context.registry.checkNotDismissed(offer.migration) }
            let action = try arrival.machine.receive(try Message(frame: frame))
            if case .open = action { timeout.end() } else { timeout.pause() }
            let goesOn = try await arrival.perform(action)
            arrival.progress?.note()
            // A source that only takes a place must not keep it.
            if let limit = limits.limit(after: action) {
                if case .open = action {
                    timeout = IdleTimeout(limit, for: connection, bytesCount: true)
                } else {
                    timeout.renew(limit)
                }
            }
            guard goesOn else { return }
        }
        throw PeerError.cut
    }

    /// The migration has failed.
    private func end(
        _ arrival: inout IncomingMigration, _ offer: Offer, _ frames: inout PeerFrames, _ error: any Error
    ) async {
        await arrival.end(comesAgain: DestinationContext.isCut(error))
        if arrival.machine.state == .active { return }
        if error is CancellationError {
            context.logger.notice(
                "\(offer.export) was arriving; its source goes on when this node is started again")
        } else if error is LostChanges {
            context.logger.warning(
                "\(offer.export) is arriving, and its source is to send again what was lost: \(error.plainReason)")
            // A source takes that for a cut link, and tries again.
            return connection.close()
        } else {
            let reason = DestinationContext.reason(error)
            context.logger.warning("the migration of \(offer.export) to this node has failed: \(reason)")
        }
        await DestinationMigration.end(
            connection, &frames, with: .failed(reason: DestinationContext.reason(error)))
    }
}
