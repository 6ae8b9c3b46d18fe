import Block
import Peer

/// What a source remembers of an image over restarts.
public struct SourceRecords: Sendable {
    let directory: StateDirectory
    /// The image.
    public let image: RawImage
    private let movedName: String
    private let attemptName: String
    private let requestName: String

    /// The records about `image` in `directory`.
    public init(directory: StateDirectory, image: RawImage) {
        self.directory = directory
        self.image = image
        let path = StateDirectory.realPath(image.path)
        movedName = StateDirectory.key("moved", path: path)
        attemptName = StateDirectory.key("attempt", path: path)
        requestName = StateDirectory.key("migrating", path: path)
    }

    /// Where the image has moved to; nil where it has not, or where another file stands at its path now.
    /// - Throws: where the record can't be read.
    public func moved() throws -> MovedRecord? {
        guard let record = try directory.read(MovedRecord.self, from: movedName) else { return nil }
        return try record.isAbout(image) ? record : nil
    }

    /// Notes, durably, that the destination of a migration has everything.
    func release(_ migration: MigrationID) throws {
        guard var record = try moved(), record.migration == migration else { return }
        record.blockSize = nil
        try directory.write(record, as: movedName)
    }

    /// Forgets that the image has moved, where that was by `migration`: it has come back. Durable on return.
    public func returned(from migration: MigrationID) throws {
        guard let record = try moved(), record.migration == migration else { return }
        directory.remove(movedName)
    }

    /// The file that says that the image has moved.
    public var movedFile: String { directory.path(of: movedName) }

    /// Notes, durably, what was asked for, so that a node that is started again after a crash goes on with it.
    public func keep(_ request: some Codable) throws {
        let kept = Kept(inode: try image.identity().inode, birthTime: image.birthTime, request: request)
        try directory.write(kept, as: requestName)
    }

    /// What was being done with this very file when the node ended without a word; nil where nothing was.
    /// - Throws: where the note can't be read.
    public func kept<Request: Codable>(_ type: Request.Type) throws -> Request? {
        guard let kept = try directory.read(Kept<Request>.self, from: requestName),
            try image.identity().inode == kept.inode, image.birthTime == kept.birthTime
        else { return nil }
        return kept.request
    }

    /// What was asked for has come to an end.
    public func forgetRequest() { directory.remove(requestName) }

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
    /// - Parameters:
    ///   - blockSize: of the blocks that the destination may still ask for; nil where it has everything.
    ///   - rate: on what is sent to it, in bits a second; nil for no limit.
    func commit(
        export: String, migration: MigrationID, destination: PeerAddress, root: DiskRoot, blockSize: Int? = nil,
        rate: UInt64? = nil
    ) throws {
        var record = try MovedRecord(
            export: export, image: image, migration: migration, destination: destination,
            root: root.description)
        record.blockSize = blockSize
        record.rate = rate
        do {
            try directory.write(record, as: movedName)
        } catch {
            directory.remove(movedName)
            throw error
        }
        directory.remove(attemptName)
        forgetRequest()
    }

    /// What was asked for, and of which file.
    private struct Kept<Request: Codable>: Codable {
        let inode: UInt64
        let birthTime: Int64?
        let request: Request
    }
}
