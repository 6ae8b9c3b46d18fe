import MigrationProtocol
import Peer
import PeerModel

/// How many disks peers bring, and ask about, at once. Does nothing itself.
struct ArrivalPlaces {
    /// Those whose connection is there that brings them.
    var arriving: [MigrationID: PeerIdentity] = [:]
    /// Those of which blocks are missing here, handed over or not; not those of an earlier life of this node.
    private var unfinished: [MigrationID: Unfinished] = [:]
    /// Questions of what one would take.
    var estimates = PeerCounts<PeerIdentity>(
        limit: PeerLimits.estimates, limitPerPeer: PeerLimits.estimatesPerPeer)

    private struct Unfinished {
        let peer: PeerIdentity
        let blocks: UInt64
    }

    /// - Parameter blocks: of the disk; each takes bits of maps, which a peer can have touched all over.
    /// - Throws: `MigrationError.refused` where a peer can bring no further disk now.
    func check(_ export: String, blocks: UInt64, from peer: PeerIdentity) throws {
        let ofPeer = arriving.values.count { $0 == peer }
        guard arriving.count < PeerLimits.arriving, ofPeer < PeerLimits.arrivingPerPeer else {
            throw MigrationError.refused(
                "\(arriving.count) disks are arriving there already, \(ofPeer) of them from this node, and no more can at "
                    + "once; migrate \(export) once one of them has been handed over")
        }
        let ofThisPeer = unfinished.values.filter { $0.peer == peer }
        let taken = ofThisPeer.reduce(0) { $0 + $1.blocks }
        guard ofThisPeer.count < PeerLimits.unfinishedPerPeer, blocks <= PeerLimits.unfinishedBlocksPerPeer - taken
        else {
            throw MigrationError.refused(
                "\(ofThisPeer.count) disks from this node, of \(taken) blocks, are not whole there yet, and no more can be "
                    + "at once; migrate \(export) once one of them is")
        }
    }

    /// A peer brings a disk.
    mutating func begin(_ migration: MigrationID, blocks: UInt64, from peer: PeerIdentity) {
        arriving[migration] = peer
        unfinished[migration] = Unfinished(peer: peer, blocks: blocks)
    }

    /// A disk is here whole, or nothing is known of it any more.
    mutating func end(_ migration: MigrationID) { unfinished[migration] = nil }
}
