import Block
import Glibc

/// Lets an operator look at the records of a state directory, and say which image one of them is about.
public struct RecordKeeper: Sendable {
    /// One record.
    public struct Summary: Codable, Sendable {
        /// `moved`, `migrating`, `attempt`, `incoming` or `returning`.
        public let kind: String
        /// The record's file.
        public let file: String
        /// The export's name; nil if the record does not say.
        public let export: String?
        /// The path at which the image was last seen; nil if another stands there now, or an earlier release wrote this.
        public let path: String?
        /// The image's identity, for people; nil in records of earlier releases.
        public let image: String?
        /// The node that has the disk; nil if the record does not say.
        public let destination: String?

        /// Whether nothing stands where the image stood.
        public var isLost: Bool {
            // Another server's disk has no path here.
            guard let path, path.hasPrefix("/"), access(path, F_OK) != 0 else { return false }
            // The image of a disk that arrives has another name before the switchover.
            return kind != IncomingRecord.prefix || access("\(path).incoming", F_OK) != 0
        }
    }

    /// No record is in doubt about an image.
    public struct NothingInDoubt: Error, CustomStringConvertible {
        let path: String
        let state: String

        /// One line for the user.
        public var description: String {
            "no record in \(state) needs a decision about \(path); nearblock record list --state \(state) shows the records"
        }
    }

    private struct Body: Decodable {
        struct Address: Decodable {
            let host: String
            let port: UInt16
        }

        let export: String?
        let destination: Address?
        let image: RecordedImage?
    }

    private static let kinds = [
        SourceRecords.movedPrefix, SourceRecords.requestPrefix, SourceRecords.attemptPrefix,
        IncomingRecord.prefix,
        IncomingRecord.returningPrefix,
    ]

    private let directory: StateDirectory

    /// The records of a state directory.
    public init(directory: StateDirectory) {
        self.directory = directory
    }

    /// All records.
    /// - Throws: if one can't be read or understood.
    public func list() throws -> [Summary] {
        try Self.kinds.flatMap { kind in
            try directory.readAll(Body.self, prefix: "\(kind)-").map { name, body in
                Summary(
                    kind: kind, file: directory.path(of: name), export: body.export, path: body.image?.path,
                    image: body.image?.identity?.description,
                    destination: body.destination.map { "\($0.host):\($0.port)" })
            }
        }
    }

    /// The records about the images at a path.
    /// - Throws: As `list`.
    public func records(ofImageAt path: String) throws -> [Summary] { try list().filter { $0.path == path } }

    /// Removes, durably, the records whose images are gone, of an export or of the image at a path.
    /// - Parameter name: The export's name, or the path.
    /// - Returns: What was removed.
    /// - Throws: If a record can't be read, understood or removed.
    public func removeLost(_ name: String) throws -> [Summary] {
        let lost = try list().filter { $0.isLost }
        // A record of attempts does not name its export.
        let paths = Set(lost.filter { $0.export == name || $0.path == name }.compactMap(\.path))
        let meant = lost.filter { $0.path.map(paths.contains) ?? false }
        for record in meant {
            let file = record.file.split(separator: "/").last ?? ""
            try directory.remove(String(file.dropLast(".json".count)))
        }
        return meant
    }

    /// Notes, durably, that the records in doubt about an image are about it.
    /// - Returns: their files.
    /// - Throws: `NothingInDoubt`, `UnidentifiedImage`; if the image or a record can't be read.
    public func adopt(_ image: any DiskImage) throws -> [String] { try adopt(RecordedImage(image), image.path) }

    /// As above, for a disk that is known by its path or URI and its identity only.
    public func adopt(_ identity: ImageIdentity?, at path: String, isFile: Bool) throws -> [String] {
        try adopt(RecordedImage(identity, at: path, isFile: isFile), path)
    }

    private func adopt(_ now: RecordedImage, _ path: String) throws -> [String] {
        guard now.identity != nil else { throw UnidentifiedImage(path: path) }
        return try decide(now, path) { name in
            var now = now
            // The size of a disk in another format is not that of its file.
            if now.identity?.size == 0,
                let size = try directory.read(RecordHead.self, from: name)?.image?.identity?.size
            {
                now.identity?.size = size
            }
            try directory.setImage(now, ofRecord: name)
        }
    }

    /// Notes, durably, that the records in doubt about an image are about another one.
    /// - Returns: their files, as they were called.
    /// - Throws: `NothingInDoubt`; if the image or a record can't be read.
    public func disown(_ image: any DiskImage) throws -> [String] {
        try decide(RecordedImage(image), image.path) { try directory.disown(record: $0) }
    }

    /// As above, for a disk that is known by its path or URI only.
    public func disown(_ identity: ImageIdentity?, at path: String, isFile: Bool) throws -> [String] {
        try decide(RecordedImage(identity, at: path, isFile: isFile), path) { try directory.disown(record: $0) }
    }

    private func decide(_ image: RecordedImage, _ path: String, _ body: (String) throws -> Void) throws -> [String] {
        var decided: [String] = []
        for kind in Self.kinds {
            guard case .doubtful(let name) = try directory.match(kind, image, isElsewhere: { _ in false }) else {
                continue
            }
            try body(name)
            decided.append(directory.path(of: name))
        }
        guard !decided.isEmpty else { throw NothingInDoubt(path: path, state: directory.scratch) }
        return decided
    }
}
