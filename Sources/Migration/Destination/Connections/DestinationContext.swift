import Block
import BlockModel
import Index
import Logging
import MigrationProtocol
import NIOCore
import NIOPosix
import Peer

/// The parts of a node that all connections of peers to a destination share.
struct DestinationContext: Sendable {
    /// The time limit for a peer to make its offer.
    static let offerLimit = Duration.seconds(30)

    let registry: IncomingDiskRegistry
    /// The index of the neighbours; nil for none.
    let indexDirectory: String?
    /// The neighbours of other hosts; nil for none.
    let site: @Sendable () -> SiteTables?
    /// Disks that arrive at other hosts; nil for none.
    let arrivals: SiteArrivals?
    /// For hashing and the files.
    let pools: WorkPools
    let logger: Logger
    /// Makes the way to a disk for forwarded requests.
    let client: @Sendable (Disk) -> DiskClient
    let budgets = PeerBudgets()
    let prefixes = PrefixRoom()

    /// Answers the hello of a source.
    /// - Returns: the neighbours, and the block size that goes with them.
    func welcome(_ connection: PeerConnection) async throws -> (NeighbourIndex?, UInt32) {
        let index = openIndex()
        let blockSize = UInt32(index?.blockSize ?? BlockGeometry.standardBlockSize)
        try await connection.send(Message.welcome(Welcome(blockSize: blockSize)).encoded())
        return (index, blockSize)
    }

    /// Answers an offer.
    /// - Parameter hasBase: whether an older copy of the disk is here.
    func accept(_ hello: Hello, hasBase: Bool, _ connection: PeerConnection) async throws {
        let knowsSummaries = hello.support.capabilities.contains(.summaries)
        let answer = hasBase && knowsSummaries ? Message.acceptedOnBase : .accepted
        try await connection.send(answer.encoded())
    }

    /// A damaged table costs its neighbour's help, not the migration.
    private func openIndex() -> NeighbourIndex? {
        guard let indexDirectory else { return nil }
        do {
            let index = try NeighbourIndex.open(directory: indexDirectory)
            for problem in index.problems { logger.warning("\(problem)") }
            return index.joined(with: site())
        } catch {
            logger.warning("migrating without neighbours: \(error.plainReason)")
            return nil
        }
    }

    /// Whether the source will be back: the link failed, this node ends, or the image's server has lost changes. What is still
    /// here counts.
    static func isCut(_ error: any Error) -> Bool {
        if case PeerError.cut = error { return true }
        return error is LostChanges || error is ChannelError || error is IOError || error is CancellationError
    }

    /// The answer to a peer whose connection or offer is refused.
    static func refusal(_ error: any Error) -> Message {
        if case MigrationError.noRoom(let reason) = error { return .refusedForRoom(reason: reason) }
        return .refused(reason: reason(error))
    }

    /// Warns of domains that a source names and no neighbour here has.
    func warnAboutDomains(of offer: Offer, in index: NeighbourIndex?) {
        let known = Set((index?.neighbours ?? []).map(\.domain))
        for domain in offer.domains where !known.contains(domain) {
            logger.warning("\(offer.export): its source names the domain '\(domain)', which no neighbour here has")
        }
    }

    /// The error in words for the peer, and for the log of this node, which is the other one to the peer only.
    static func reason(_ error: any Error) -> String {
        switch error {
        case MigrationError.refused(let reason), MigrationError.noRoom(let reason): reason
        default: error.plainReason
        }
    }
}

extension Offer {
    /// - Throws: `MigrationError.refused` if blocks are of another size here.
    func checkBlockSize(_ size: UInt32) throws {
        guard blockSize == size else {
            throw MigrationError.refused("blocks are of \(size) bytes here, not of \(blockSize)")
        }
    }
}

extension NeighbourIndex {
    /// The neighbours that may be drawn on for a disk.
    func restricted(for offer: Offer) -> NeighbourIndex {
        offer.domains.isEmpty ? self : restricted(to: Set(offer.domains))
    }
}
