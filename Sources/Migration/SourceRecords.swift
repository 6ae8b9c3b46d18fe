import Block
import Peer

/// What a source remembers of an image over restarts.
public struct SourceRecords: Sendable {
    let directory: StateDirectory
    private let image: RawImage

    /// The records about `image` in `directory`.
    public init(directory: StateDirectory, image: RawImage) {
        self.directory = directory
        self.image = image
    }

    private var movedName: String { StateDirectory.key("moved", image: image.path) }
    private var attemptName: String { StateDirectory.key("attempt", image: image.path) }

    /// Where the image has moved to; nil where it has not, or where another image stands at its path now.
    /// - Throws: where the record can't be read.
    public func moved() throws -> MovedRecord? {
        guard let record = try directory.read(MovedRecord.self, from: movedName) else { return nil }
        return record.identity == (try image.identity()) ? record : nil
    }

    /// The attempt before this one, which has been given up for certain.
    func abandonedAttempt() throws -> MigrationID? {
        try directory.read(AttemptRecord.self, from: attemptName)?.migration
    }

    func begin(_ migration: MigrationID) throws {
        try directory.write(AttemptRecord(migration: migration), as: attemptName)
    }

    /// Gives the disk away, durably.
    func commit(export: String, migration: MigrationID, destination: PeerAddress, root: DiskRoot) throws {
        let record = MovedRecord(
            export: export, identity: try image.identity(), migration: migration, destination: destination,
            root: root.description)
        try directory.write(record, as: movedName)
        directory.remove(attemptName)
    }
}
