import Index
import Logging
import Peer
import PeerModel

/// Reads images of one other host of the site.
///
/// Any thread but those of event loops may use it. A connection carries what is read for the background, with much asked for
/// ahead of use. A second one carries what a client waits for, which would otherwise come after all of that.
package final class RemoteNeighbours: NeighbourReader, Sendable {
    /// The most pieces that each lane keeps: 32 MiB and 4 MiB.
    private static let (pieces, urgentPieces) = (512, 64)
    /// Seconds that the waits of each lane may take beyond what comes. A client soon gets its bytes from the source instead.
    private static let (patience, urgentPatience) = (5.0, 1.0)

    private let background: NeighbourLane
    private let urgent: NeighbourLane

    /// - Parameters:
    ///   - host: Name of the other host, for messages.
    ///   - ownHost: Name of this host, which the other one looks up in the site.
    package init(host: String, ownHost: String, address: PeerAddress, transport: PeerTransport, logger: Logger) {
        func lane(_ capacity: Int, _ patience: Double) -> NeighbourLane {
            NeighbourLane(
                host: host, ownHost: ownHost, address: address, transport: transport, logger: logger,
                capacity: capacity, patience: patience)
        }
        background = lane(Self.pieces, Self.patience)
        urgent = lane(Self.urgentPieces, Self.urgentPatience)
    }

    package func read(
        _ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool
    ) -> Bool {
        guard isUrgent else { return background.read(table, into: buffer, at: offset) }
        guard background.expectedWait != nil else { return false }
        return background.copy(table, into: buffer, at: offset) || urgent.read(table, into: buffer, at: offset)
    }

    package func willRead(_ table: [UInt8], _ range: Range<UInt64>, isUrgent: Bool) {
        (isUrgent ? urgent : background).willRead(table, range)
    }

    package var expectedWait: Duration? { background.expectedWait }

    package func wasStale(_ table: [UInt8], at offset: UInt64) {
        background.wasStale(table, at: offset)
        urgent.wasStale(table, at: offset)
    }
}
