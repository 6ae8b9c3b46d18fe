import Foundation

/// The record of a disk on an RBD image in a site's store: which host serves it, and whether another one may take it over.
package struct DiskRecord: Codable, Sendable, Equatable {
    /// The version that this release writes; it reads no other.
    package static let currentVersion = 1

    package enum State: String, Codable, Sendable {
        /// Blocks are missing, or a node has opened it and has not found yet whether any are.
        case arriving
        /// All of it is in the image.
        case served
        /// It is moving to another node, or has moved; the node that serves the image knows.
        case leaving
    }

    package var version = currentVersion
    /// `rbd:POOL/IMAGE`.
    package var image: String
    /// The image's own name in its pool.
    package var identity: String
    package var export: String
    /// The host that serves it.
    package var host: String
    /// Random number of that host's process.
    package var instance: UInt64
    /// Random number of that process's state directory; 0 after a takeover.
    package var home: UInt64
    /// Grows with each change.
    package var generation: UInt64
    package var state: State
    /// Addresses of the clients of Ceph that may write to it. Whoever serves it next fences them.
    package var clients: [String]
    /// Clients that were fenced last. One that stands still watches the image for half a minute more.
    package var fenced: [String]?
}

extension DiskRecord {
    private struct Head: Decodable {
        let version: Int
    }

    /// Reads a record.
    /// - Throws: `SiteError.laterVersion`, whatever else that release writes; `DiskError.isDamaged`.
    init(from data: Data, of image: String, at place: String) throws {
        let decoder = JSONDecoder()
        if let head = try? decoder.decode(Head.self, from: data), head.version > Self.currentVersion {
            throw SiteError.laterVersion(file: place, version: head.version)
        }
        guard let record = try? decoder.decode(DiskRecord.self, from: data), record.image == image,
            record.version == Self.currentVersion
        else { throw DiskError.isDamaged(image, record: place) }
        self = record
    }
}
