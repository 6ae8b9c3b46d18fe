import MigrationProtocol
import Peer
import PeerModel

/// The source's note of the migrations that it has begun and not brought to an end: while there is no `MovedRecord` of
/// one of them it has not happened, and its destination may drop what it has of it.
struct AttemptRecord: Codable {
    struct Attempt: Codable {
        let migration: MigrationID
        let destination: PeerAddress
    }

    /// Older ones are forgotten.
    static let maximumCount = 32

    /// The image; nil in notes of earlier releases.
    var image: RecordedImage?
    var attempts: [Attempt] = []
}
