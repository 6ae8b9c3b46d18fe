import Peer

/// How many disks peers bring, and ask about, at once. Does nothing itself.
struct ArrivalPlaces {
    /// Those whose connection is there that brings them.
    var arriving: [MigrationID: PeerIdentity] = [:]
    /// Those of which blocks are missing here, handed over or not; not those of an earlier life of this node.
    private var unfinished: [MigrationID: PeerIdentity] = [:]
    /// Questions of what one would take.
    var estimates = PeerCounts<PeerIdentity>(
        limit: PeerLimits.estimates, limitPerPeer: PeerLimits.estimatesPerPeer)

    /// - Throws: `MigrationError.refused` where a peer can bring no further disk now.
    func check(_ export: String, from peer: PeerIdentity) throws {
        let ofPeer = arriving.values.count { $0 == peer }
        guard arriving.count < PeerLimits.arriving, ofPeer < PeerLimits.arrivingPerPeer else {
            throw MigrationError.refused(
                "\(arriving.count) disks are arriving there already, \(ofPeer) of them from this node, and no more can at "
                    + "once; migrate \(export) once one of them has been handed over")
        }
        let unfinished = unfinished.values.count { $0 == peer }
        guard unfinished < PeerLimits.unfinishedPerPeer else {
            throw MigrationError.refused(
                "\(unfinished) disks from this node are not whole there yet, and no more can be at once; migrate \(export) "
                    + "once one of them is")
        }
    }

    /// A peer brings a disk.
    mutating func begin(_ migration: MigrationID, from peer: PeerIdentity) {
        arriving[migration] = peer
        unfinished[migration] = peer
    }

    /// A disk is here whole, or nothing is known of it any more.
    mutating func end(_ migration: MigrationID) { unfinished[migration] = nil }
}
