import MigrationProtocol
import Peer
import PeerModel

/// The source's record of the migrations that it has begun and not brought to an end. While there is no `MovedRecord` of one of
/// them, its disk has not moved, and the destination may remove what it has of it.
struct AttemptRecord: Codable {
    struct Attempt: Codable {
        let migration: MigrationID
        let destination: PeerAddress
    }

    /// Older ones are forgotten.
    static let maximumCount = 32

    /// The image; nil in records of earlier releases.
    var image: RecordedImage?
    var attempts: [Attempt] = []
}
