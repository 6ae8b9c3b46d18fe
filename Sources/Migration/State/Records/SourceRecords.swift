import Block
import MigrationCore
import MigrationProtocol
import Peer
import PeerModel

/// The records of a source about one image, which survive restarts.
public struct SourceRecords: Sendable {
    let directory: StateDirectory
    /// The image.
    public let image: any DiskImage
    /// The images at the other paths of this node: a record about one of them is not about an image at its old path.
    private let standing: @Sendable () -> [StandingImage]

    /// The records about `image` in `directory`.
    public init(
        directory: StateDirectory, image: any DiskImage, standing: @escaping @Sendable () -> [StandingImage] = { [] }
    ) {
        self.directory = directory
        self.image = image
        self.standing = standing
    }

    /// Checks that no record leaves in doubt whether it is about this image, and records where the image stands.
    /// - Throws: `DoubtfulImage` if another image stood at this path that has moved, or was moving when the node ended.
    ///   Also if a record can't be read or written.
    public func confirmIdentity() throws {
        try confirmIdentity { name, now in
            throw DoubtfulImage(path: now.path ?? image.path, file: directory.path(of: name), state: directory.scratch)
        }
    }

    /// As `confirmIdentity`, for an image that has come here by a migration: it is another disk than the one that stood at its
    /// path.
    /// - Throws: if a record can't be read or written.
    public func claimPlace() throws {
        try confirmIdentity { name, _ in try directory.disown(record: name) }
    }

    private func confirmIdentity(inDoubt: (_ record: String, _ now: RecordedImage) throws -> Void) throws {
        let now = try RecordedImage(image)
        for prefix in [Self.movedPrefix, Self.requestPrefix] {
            switch try match(prefix, now) {
            case .none: continue
            case .same(let name): try directory.recordStanding(now, inRecord: name)
            case .doubtful(let name): try inDoubt(name, now)
            }
        }
    }

    /// Checks that records of the image can't be taken for records of another one.
    /// - Throws: `UnidentifiedImage`.
    public func checkIsIdentified() throws {
        guard try image.identity() != nil else { throw UnidentifiedImage(path: image.path) }
    }

    private func match(_ prefix: String, _ now: RecordedImage) throws -> RecordMatch {
        let standing = standing()
        return try directory.match(prefix, now, twins: { twins(of: now, standing) }) { identity in
            standing.contains { $0.identity.isSame(as: identity) }
        }
    }

    /// The paths of other files that have the identity of this one: a cloned file system has its UUID, inodes and times.
    private func twins(of now: RecordedImage, _ standing: [StandingImage]) -> [String] {
        guard let identity = now.identity, let file = image.fileNumber else { return [] }
        return standing.filter { $0.file != nil && $0.file != file && $0.identity.isSame(as: identity) }.map(\.path)
    }

    /// The name of the record about this image; nil if there is none.
    func find(_ prefix: String) throws -> String? {
        guard case .same(let name) = try match(prefix, RecordedImage(image)) else {
            return nil
        }
        return name
    }

    /// Runs `body` with the record about this image, locked against other changes.
    /// - Returns: nil if there is none.
    func changing<Result>(_ prefix: String, _ body: (RecordChange) throws -> Result) throws -> Result? {
        while let name = try find(prefix) {
            let result = try directory.changing(name) { change -> Result? in
                // It may have got another name while its lock was waited for.
                try find(prefix) == name ? body(change) : nil
            }
            if let result { return result }
        }
        return nil
    }

    /// The name under which a record about this image is to be written.
    /// - Throws: `UnidentifiedImage`.
    func place(_ prefix: String) throws -> String {
        if let name = try find(prefix) { return name }
        guard let identity = try image.identity() else { throw UnidentifiedImage(path: image.path) }
        let now = try RecordedImage(image)
        // The record of a twin must not be written over.
        let place = twins(of: now, standing()).isEmpty ? "" : now.path ?? ""
        return StateDirectory.key(prefix, path: identity.key + place)
    }

    func read<Record: Decodable>(_ type: Record.Type, _ prefix: String) throws -> Record? {
        try find(prefix).flatMap { try directory.read(type, from: $0) }
    }

    /// The record of where the image has moved to; nil if it has not.
    /// - Throws: if the record can't be read.
    public func moved() throws -> MovedRecord? {
        guard let record = try read(MovedRecord.self, Self.movedPrefix) else { return nil }
        guard record.isPossible else {
            throw DamagedRecord(file: movedFile ?? directory.path(of: Self.movedPrefix))
        }
        guard let group = record.group, try !Self.isGiven(group, in: directory) else { return record }
        // The group's record goes once each disk's record stands by itself, perhaps between the two looks.
        let settled = try read(MovedRecord.self, Self.movedPrefix)
        return settled?.group == nil ? settled : nil
    }

    /// Whether there is a group's commit record; one that only bears its name is none (`resolveOutcome`).
    static func isGiven(_ group: MigrationID, in directory: StateDirectory) throws -> Bool {
        try directory.read([String: MigrationID].self, from: commonRecord(of: group))?["group"] == group
    }

    /// Records durably that the destination of a migration has everything.
    func release(_ migration: MigrationID) throws {
        _ = try changing(Self.movedPrefix) { change in
            guard var record = try moved(), record.migration == migration else { return }
            record.blockSize = nil
            try change.write(record)
        }
    }

    /// Removes the record that the image has moved by `migration`: it has come back. Durable on return.
    /// - Throws: if that may not be so; to be repeated.
    public func returned(from migration: MigrationID) throws {
        try finishRemovals(Self.movedPrefix)
        _ = try changing(Self.movedPrefix) { change in
            if try moved()?.migration == migration { try change.remove() }
        }
    }

    /// The file that says that the image has moved; nil if there is none.
    public var movedFile: String? { (try? find(Self.movedPrefix)).flatMap { $0 }.map(directory.path(of:)) }

    /// Records a migration request durably, so that a node that is started again after a crash goes on with it.
    /// - Parameter resumes: the number of times that the process has ended while it went on with it.
    public func keep(_ request: some Codable, resumes: ResumeCount = ResumeCount()) throws {
        let image = try RecordedImage(image)
        let (inode, birthTime) = image.legacyFile
        let kept = Kept(
            image: image, inode: inode, birthTime: birthTime, request: request,
            resumes: resumes == ResumeCount() ? nil : resumes)
        try directory.write(kept, as: place(Self.requestPrefix))
    }

    /// The request that was in progress with this very image when the node crashed; nil if there was none.
    /// - Throws: if the record can't be read.
    public func kept<Request: Codable>(_ type: Request.Type) throws -> Request? {
        try read(Kept<Request>.self, Self.requestPrefix)?.request
    }

    /// Removes the request, which has come to an end; durable on return.
    /// - Throws: if a later life may still go on with it; to be repeated.
    public func forgetRequest() throws { try remove(Self.requestPrefix) }

    private func remove(_ prefix: String) throws {
        try finishRemovals(prefix)
        _ = try changing(prefix) { try $0.remove() }
    }

    /// Finishes failed removals of records about this image; those about other images are repeated by their own owners.
    private func finishRemovals(_ prefix: String) throws {
        let now = try RecordedImage(image)
        let standing = standing()
        try directory.finishRemovals(prefix) { name, head in
            let match = RecordMatch(
                among: [(name, head)], image: now, legacyName: StateDirectory.legacyName(prefix, now),
                twins: { twins(of: now, standing) }, isElsewhere: { _ in false })
            return match == .same(name: name)
        }
    }

    /// Records that a migration begins.
    /// - Returns: earlier ones to the same destination, which have been given up for certain.
    func begin(_ migration: MigrationID, to destination: PeerAddress) throws -> [MigrationID] {
        try directory.changing(place(Self.attemptPrefix)) { change in
            var record = try attempts()
            let earlier = record.attempts.filter { $0.destination == destination }.map(\.migration)
            record.attempts.append(.init(migration: migration, destination: destination))
            record.attempts = record.attempts.suffix(AttemptRecord.maximumCount)
            try change.write(record)
            return earlier
        }
    }

    /// Removes earlier attempts: the destination has let a migration begin, and has removed what it had of those that it was
    /// told of.
    func accepted(_ migration: MigrationID, by destination: PeerAddress) throws {
        try directory.changing(place(Self.attemptPrefix)) { change in
            var record = try attempts()
            record.attempts.removeAll { $0.destination == destination && $0.migration != migration }
            try change.write(record)
        }
    }

    func attempts() throws -> AttemptRecord {
        var record = try read(AttemptRecord.self, Self.attemptPrefix) ?? AttemptRecord()
        record.image = try RecordedImage(image)
        return record
    }

    /// Removes an attempt that has been given up, and of which the destination keeps nothing.
    func gaveUp(_ migration: MigrationID) {
        // If this fails, the destination is told once more than it needs to be.
        _ = try? changing(Self.attemptPrefix) { change in
            var record = try attempts()
            record.attempts.removeAll { $0.migration == migration }
            if record.attempts.isEmpty { try change.remove() } else { try change.write(record) }
        }
    }

    /// Gives the disk away durably; a disk of a group only once `commit(group:)` has written the record for all.
    /// - Throws: `UncertainRecord` if the disk may have been given away; with any other error it has not.
    func commit(_ record: MovedRecord) throws { try commitRecord(record).write() }

    /// Writes the commit record, durably, for all records that name `group`.
    /// - Throws: as `commit`.
    func commit(group: MigrationID) throws { try commitRecord(for: group).write() }

    /// The record that gives the disk away.
    /// - Throws: `UnidentifiedImage`; if the records can't be read.
    func commitRecord(_ record: MovedRecord) throws -> CommitRecord {
        CommitRecord(record, as: try place(Self.movedPrefix), in: directory)
    }

    /// The commit record for all records that name `group`.
    func commitRecord(for group: MigrationID) -> CommitRecord {
        CommitRecord(["group": group], as: Self.commonRecord(of: group), in: directory)
    }

    /// Removes a record whose group was certainly not committed; if it can't be removed it counts for nothing.
    func withdraw(group: MigrationID) {
        _ = try? changing(Self.movedPrefix) { change in
            if try change.read(MovedRecord.self)?.group == group { try change.remove() }
        }
    }

    /// Removes the attempt and the request of a disk that has moved.
    /// - Throws: if a node that starts again may still find them; its `resolveOutcome` then removes them.
    func forgetAttempts() throws {
        try remove(Self.attemptPrefix)
        try forgetRequest()
    }

    /// Makes the record valid without its group's.
    /// - Throws: if it may not be after a crash; to be repeated.
    func makeIndependent() throws {
        _ = try changing(Self.movedPrefix) { change in
            guard var record = try moved() else { return }
            record.group = nil
            try change.write(record)
        }
    }

    /// Removes the commit record of a group whose disks' records all stand by themselves; a later life does if this fails.
    func forget(group: MigrationID) { try? directory.remove(Self.commonRecord(of: group)) }

    /// Makes the records of disks that were given away together, in an earlier life, stand by themselves.
    /// - Throws: if one can't be read or written; the groups' records stay, and so the disks' records count as before.
    public static func makeIndependent(in directory: StateDirectory) throws {
        // The groups' records first: if one stands, all of its disks' records do.
        for (common, content) in try directory.readAll([String: MigrationID].self, prefix: "\(commonPrefix)-") {
            guard let group = content["group"], Self.commonRecord(of: group) == common else {
                try directory.remove(common)
                continue
            }
            // An earlier life may have acted on it before it was durable: some disks would have moved, and others not.
            try directory.confirm(common)
            for name in try directory.names(prefix: "\(movedPrefix)-") {
                try directory.changing(name) { change in
                    guard var record = try change.read(MovedRecord.self) else { return }
                    let isOfGroup = record.group.map { Self.commonRecord(of: $0) == common }
                    if isOfGroup == true { record.group = nil }
                    // A record that an earlier life has made stand by itself may do so only until the next crash.
                    if isOfGroup != false { try change.write(record) }
                }
            }
            try directory.remove(common)
        }
    }

    static let movedPrefix = "moved"
    static let requestPrefix = "migrating"
    static let attemptPrefix = "attempt"
    static let commonPrefix = "together"

    static func commonRecord(of group: MigrationID) -> String { "\(commonPrefix)-\(group)" }

    /// A request, and the file that it is about.
    struct Kept<Request: Codable>: Codable {
        /// nil in records of earlier releases.
        var image: RecordedImage?
        /// For earlier releases, which know the image by these two.
        let inode: UInt64
        let birthTime: Int64?
        let request: Request
        /// nil for no limit, and in records of earlier releases.
        var resumes: ResumeCount?
    }
}
