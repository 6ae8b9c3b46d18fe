import Block
import BlockModel
import MigrationProtocol
import Peer

/// The images of disks that came here, as long as somebody else has them open.
struct ArrivalImages {
    private struct Arrival {
        weak var image: (any DiskImage)?
        let export: String
        /// The migration's blocks.
        let geometry: BlockGeometry?
        let peer: PeerIdentity
    }

    private var arrivals: [MigrationID: Arrival] = [:]

    /// Adds the image of a disk that begins to arrive.
    mutating func add(_ image: any DiskImage, of offer: Offer, from peer: PeerIdentity) {
        arrivals = arrivals.filter { $0.value.image != nil }
        arrivals[offer.migration] = Arrival(
            image: image, export: offer.export, geometry: offer.geometry, peer: peer)
    }

    /// The image of a disk that came from this peer, with the offsets of the migration's blocks; nil if there is none.
    func image(of migration: MigrationID, from peer: PeerIdentity) -> (any DiskImage)? {
        guard let arrival = arrivals[migration], arrival.peer == peer else { return nil }
        return arrival.geometry.flatMap { arrival.image?.on($0) }
    }

    /// The image of an export that came here; nil if there is none.
    func image(named export: String) -> (any DiskImage)? {
        arrivals.values.first { $0.export == export && $0.image != nil }?.image
    }
}
