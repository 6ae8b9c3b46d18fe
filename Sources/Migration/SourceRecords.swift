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
        movedName = StateDirectory.key(Self.movedPrefix, path: path)
        attemptName = StateDirectory.key("attempt", path: path)
        requestName = StateDirectory.key("migrating", path: path)
    }

    /// Where the image has moved to; nil where it has not, or where another file stands at its path now.
    /// - Throws: where the record can't be read.
    public func moved() throws -> MovedRecord? {
        guard let record = try directory.read(MovedRecord.self, from: movedName), try record.isAbout(image) else {
            return nil
        }
        guard let group = record.group, try !directory.exists(Self.word(of: group)) else { return record }
        // The word goes once each record stands by itself, which may have come about between the two looks.
        let settled = try directory.read(MovedRecord.self, from: movedName)
        return settled?.group == nil ? settled : nil
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

    /// The destination has let a migration begin, and has dropped what it had of the earlier ones that it was told of.
    func accepted(_ migration: MigrationID, by destination: PeerAddress) throws {
        var record = try directory.read(AttemptRecord.self, from: attemptName) ?? AttemptRecord()
        record.attempts.removeAll { $0.destination == destination && $0.migration != migration }
        try directory.write(record, as: attemptName)
    }

    /// The destination keeps nothing of a migration that has been given up: there is nothing to tell it later.
    func gaveUp(_ migration: MigrationID) {
        guard var record = try? directory.read(AttemptRecord.self, from: attemptName) else { return }
        record.attempts.removeAll { $0.migration == migration }
        // Where this fails the destination is told once more than it needs to be.
        if record.attempts.isEmpty {
            directory.remove(attemptName)
        } else {
            try? directory.write(record, as: attemptName)
        }
    }

    /// Gives the disk away, durably; one of several only once `commit(group:)` has given the word for all. Where this
    /// throws, the disk has not been given away.
    func commit(_ record: MovedRecord) throws { try give(record, as: movedName) }

    /// Gives the word, durably, for all records that name `group`. Where this throws, it has not been given.
    func commit(group: MigrationID) throws { try give(["group": group], as: Self.word(of: group)) }

    /// Writes what must not count where this throws.
    private func give(_ word: some Encodable, as name: String) throws {
        do {
            try directory.write(word, as: name)
        } catch {
            directory.remove(name)
            throw error
        }
    }

    /// The word that a record waits for is not given: the record never was.
    func withdraw(group: MigrationID) {
        guard let record = try? directory.read(MovedRecord.self, from: movedName), record.group == group else { return }
        directory.remove(movedName)
    }

    /// Forgets how the disk was given away, once it has been.
    func forgetAttempts() {
        directory.remove(attemptName)
        forgetRequest()
    }

    /// Makes the record stand by itself.
    func settle() throws {
        guard var record = try moved(), record.group != nil else { return }
        record.group = nil
        try directory.write(record, as: movedName)
    }

    /// Forgets the word of disks whose records all stand by themselves.
    func forget(group: MigrationID) { directory.remove(Self.word(of: group)) }

    /// Makes the records of disks that were given away together, in an earlier life, stand by themselves.
    /// - Throws: where one can't be read or written; the words stay, and so the records count as before.
    public static func settle(in directory: StateDirectory) throws {
        // The words first: where one stands, all of its records do.
        for (word, _) in try directory.readAll([String: MigrationID].self, prefix: "\(wordPrefix)-") {
            for (name, var record) in try directory.readAll(MovedRecord.self, prefix: "\(movedPrefix)-") {
                guard let group = record.group, Self.word(of: group) == word else { continue }
                record.group = nil
                try directory.write(record, as: name)
            }
            directory.remove(word)
        }
    }

    private static let movedPrefix = "moved"
    private static let wordPrefix = "together"

    private static func word(of group: MigrationID) -> String { "\(wordPrefix)-\(group)" }

    /// What was asked for, and of which file.
    private struct Kept<Request: Codable>: Codable {
        let inode: UInt64
        let birthTime: Int64?
        let request: Request
    }
}
