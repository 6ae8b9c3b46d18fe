import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOPosix

/// The first messages of a source: the purpose of the connection, and the disk that is offered.
struct SourceHandshake: Sendable {
    let job: SourceJob
    let migration: MigrationID
    let purpose: Hello.Purpose
    /// For looking at the image.
    let pool: NIOThreadPool

    /// The first message.
    var hello: Message { .hello(Hello(purpose: purpose, migration: migration)) }

    /// The places at which blocks should begin, as far as they are found. Call it before the first message.
    func places() async throws -> [UInt64] {
        guard let findPlaces = job.findPlaces else { return [] }
        return try await pool.runIfActive { [image = job.image] in findPlaces(image) }
    }

    /// The message that offers the disk.
    /// - Parameter abandoned: earlier attempts that this node has given up.
    /// - Throws: `MigrationError.refused` where the destination can't take such a disk; where the image can't be read.
    func offer(
        _ geometry: BlockGeometry, _ agreement: ProtocolSupport.Agreement, abandoned: [MigrationID]
    ) async throws -> Message {
        .offer(
            Offer(
                migration: migration, abandoned: abandoned, export: job.export, size: geometry.diskSize,
                blockSize: UInt32(geometry.blockSize), domains: job.domains,
                details: try await details(geometry, agreement)))
    }

    /// - Returns: nil for a destination that does not know of them.
    private func details(
        _ geometry: BlockGeometry, _ agreement: ProtocolSupport.Agreement
    ) async throws -> OfferDetails? {
        guard agreement.capabilities.contains(.offerDetails) else {
            guard !job.isReadOnly else {
                throw MigrationError.refused(
                    "its release would let clients write to \(job.export), which is read-only here; "
                        + "run the same release on both sides")
            }
            return nil
        }
        var details = OfferDetails(
            isReadOnly: job.isReadOnly, dataBesides: job.dataBesides, origins: geometry.origins)
        if job.checksSpace {
            details.dataBytes = try await pool.runIfActive { [image = job.image] in try image.dataBytes() }
        }
        return details
    }
}
