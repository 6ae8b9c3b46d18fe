import Block
import Peer

/// What a source remembers of an image over restarts.
public struct SourceRecords: Sendable {
    let directory: StateDirectory
    private let image: RawImage
    private let movedName: String
    private let attemptName: String

    /// The records about `image` in `directory`.
    public init(directory: StateDirectory, image: RawImage) {
        self.directory = directory
        self.image = image
        let path = StateDirectory.realPath(image.path)
        movedName = StateDirectory.key("moved", path: path)
        attemptName = StateDirectory.key("attempt", path: path)
    }

    /// Where the image has moved to; nil where it has not, or where another file stands at its path now.
    /// - Throws: where the record can't be read.
    public func moved() throws -> MovedRecord? {
        guard let record = try directory.read(MovedRecord.self, from: movedName) else { return nil }
        return try record.isAbout(image) ? record : nil
    }

    /// The file that says that the image has moved.
    public var movedFile: String { directory.path(of: movedName) }

    /// Notes that a migration begins.
    /// - Returns: earlier ones to the same destination, which have been given up for certain.
    func begin(_ migration: MigrationID, to destination: PeerAddress) throws -> [MigrationID] {
        var record = try directory.read(AttemptRecord.self, from: attemptName) ?? AttemptRecord()
        let earlier = record.attempts.filter { $0.destination == destination }.map(\.migration)
        record.attempts.append(.init(migration: migration, destination: destination))
        record.attempts = record.attempts.suffix(AttemptRecord.maximumCount)
        try directory.write(record, as: attemptName)
        return earlier
    }

    /// Gives the disk away, durably. Where this throws, the disk has not been given away.
    func commit(export: String, migration: MigrationID, destination: PeerAddress, root: DiskRoot) throws {
        let record = try MovedRecord(
            export: export, image: image, migration: migration, destination: destination,
            root: root.description)
        do {
            try directory.write(record, as: movedName)
        } catch {
            directory.remove(movedName)
            throw error
        }
        directory.remove(attemptName)
    }
}
