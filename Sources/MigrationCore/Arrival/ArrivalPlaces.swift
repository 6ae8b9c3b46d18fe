import MigrationProtocol
import PeerModel

/// Counts the disks that peers bring at once, and refuses what is beyond `PeerLimits` (invariant 10).
package struct ArrivalPlaces<Peer: Hashable & Sendable>: Sendable {
    private struct Unfinished {
        let peer: Peer
        let blocks: UInt64
    }

    /// Disks whose connection is there that brings them.
    private var arriving: [MigrationID: Peer] = [:]
    /// Disks of which blocks are missing here, before or after the switchover; not those of an earlier life of this node.
    private var unfinished: [MigrationID: Unfinished] = [:]

    package init() {}

    /// Checks that a peer may bring one more disk.
    /// - Parameter blocks: of the disk; each takes bits of maps, which a peer can have touched all over.
    /// - Throws: `MigrationError.refused` if the peer, or all peers together, have no place left.
    package func check(_ export: String, blocks: UInt64, from peer: Peer) throws {
        let ofPeer = arriving.values.count { $0 == peer }
        guard arriving.count < PeerLimits.arriving, ofPeer < PeerLimits.arrivingPerPeer else {
            throw MigrationError.refused(
                "\(arriving.count) disks are arriving there already, \(ofPeer) of them from this node, and no more can at "
                    + "once; migrate \(export) once one of them has been switched over")
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

    /// A peer brings a disk from now on.
    package mutating func begin(_ migration: MigrationID, blocks: UInt64, from peer: Peer) {
        arriving[migration] = peer
        unfinished[migration] = Unfinished(peer: peer, blocks: blocks)
    }

    /// The connection that brought a disk has ended; blocks of the disk may still be missing.
    package mutating func disconnect(_ migration: MigrationID) { arriving[migration] = nil }

    /// A disk is here whole, or nothing is known of it any more.
    package mutating func end(_ migration: MigrationID) { unfinished[migration] = nil }
}
