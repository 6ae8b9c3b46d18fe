import Peer

/// Lends bytes of this host's images to other hosts of its site. Any thread may use it.
package protocol NeighbourLender: Sendable {
    /// Returns whether a peer is the host that it says it is, and belongs to the site.
    func isMember(_ host: String, _ peer: PeerIdentity) -> Bool

    /// Fills `buffer` with bytes of an image, up to its end; blocks for as long as that takes.
    /// - Parameters:
    ///   - table: The 16 bytes that name the image's table.
    ///   - offset: In the image, in bytes.
    /// - Returns: The number of bytes; 0 if this host lends no such image, or it can't be read.
    func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int
}
