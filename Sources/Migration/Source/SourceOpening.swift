import Block
import BlockModel
import MigrationProtocol
import NIOPosix

/// The first words of a source: what the connection is for, and which disk it is about.
struct SourceOpening: Sendable {
    let job: SourceJob
    let migration: MigrationID
    let purpose: Hello.Purpose
    /// For looking at the image.
    let pool: NIOThreadPool

    /// - Returns: the destination's answer, and what both releases speak.
    /// - Throws: `MigrationError.noCommonVersion`, or why the destination says no.
    func greet(_ link: SourceLink, _ inbox: inout SourceInbox) async throws -> (Welcome, ProtocolSupport.Agreement) {
        try await link.send(.hello(Hello(purpose: purpose, migration: migration)))
        guard case .welcome(let welcome) = try await inbox.next() else {
            throw MigrationError.unexpected("no welcome")
        }
        return (welcome, try ProtocolSupport.agreement(source: .own, destination: welcome.support))
    }

    /// Offers the disk, and returns once it is accepted.
    /// - Parameter abandoned: earlier attempts that this node has given up.
    /// - Returns: how it is cut into blocks, and whether an older copy of it is there.
    func offer(
        to welcome: Welcome, abandoned: [MigrationID], _ link: SourceLink, _ inbox: inout SourceInbox
    ) async throws -> (BlockGeometry, hasBase: Bool) {
        guard let geometry = BlockGeometry(size: job.disk.size, blockSize: Int(welcome.blockSize)) else {
            throw MigrationError.unexpected("a block size of \(welcome.blockSize)")
        }
        let offer = Offer(
            migration: migration, abandoned: abandoned, export: job.export, size: geometry.size,
            blockSize: welcome.blockSize, domains: job.domains, details: try await details(for: welcome))
        try await link.send(.offer(offer))
        switch try await inbox.next() {
        case .accepted: return (geometry, false)
        case .acceptedOnBase: return (geometry, true)
        default: throw MigrationError.unexpected("no answer to the offer")
        }
    }

    /// - Returns: nil for a destination that does not know of them.
    /// - Throws: `MigrationError.refused` where it would have to.
    private func details(for welcome: Welcome) async throws -> OfferDetails? {
        guard welcome.support.capabilities.contains(.offerDetails) else {
            guard !job.isReadOnly else {
                throw MigrationError.refused(
                    "its release would let clients write to \(job.export), which is read-only here; "
                        + "run the same release on both sides")
            }
            return nil
        }
        var details = OfferDetails(isReadOnly: job.isReadOnly, dataBesides: job.dataBesides)
        if job.checksSpace {
            details.dataBytes = try await pool.runIfActive { [image = job.image] in try image.dataBytes() }
        }
        return details
    }
}
