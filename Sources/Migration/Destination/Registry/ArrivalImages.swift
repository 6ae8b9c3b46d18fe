import Block
import MigrationProtocol
import Peer

/// The images of disks that came here, as long as somebody else has them open.
struct ArrivalImages {
    private struct Arrival {
        weak var image: (any DiskImage)?
        let export: String
        let peer: PeerIdentity
    }

    private var arrivals: [MigrationID: Arrival] = [:]

    /// Adds the image of a disk that begins to arrive.
    mutating func add(_ image: any DiskImage, of migration: MigrationID, export: String, from peer: PeerIdentity) {
        arrivals = arrivals.filter { $0.value.image != nil }
        arrivals[migration] = Arrival(image: image, export: export, peer: peer)
    }

    /// The image of a disk that came from this peer; nil if there is none.
    func image(of migration: MigrationID, from peer: PeerIdentity) -> (any DiskImage)? {
        guard let arrival = arrivals[migration], arrival.peer == peer else { return nil }
        return arrival.image
    }

    /// The image of an export that came here; nil if there is none.
    func image(named export: String) -> (any DiskImage)? {
        arrivals.values.first { $0.export == export && $0.image != nil }?.image
    }
}
