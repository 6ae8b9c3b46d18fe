import Block

/// The records of a node about whatever stands at a place that is not open, such as `rbd:POOL/IMAGE`.
///
/// An image that is open is known by its identity, for certain. These count more: all that was ever seen at the place, or was
/// called by its name. So nothing is overlooked that the opening would find.
public struct PlaceRecords: Sendable {
    private let directory: StateDirectory
    private let place: String
    private let name: String?

    /// - Parameters:
    ///   - place: Where the image stands, as it is configured.
    ///   - name: The operator's name for the image; nil for none.
    public init(in directory: StateDirectory, at place: String, named name: String?) {
        (self.directory, self.place, self.name) = (directory, place, name)
    }

    /// The file that says that a disk has moved away from there; nil if there is none.
    /// - Throws: If a record can't be read.
    public func departure() throws -> String? {
        try names(of: SourceRecords.movedPrefix).first { name in
            guard let record = try directory.read(MovedRecord.self, from: name) else { return false }
            // A disk of a group has moved only with all of them.
            return try record.group.map { try SourceRecords.isGiven($0, in: directory) } ?? true
        }.map(directory.path(of:))
    }

    /// The file that says that blocks of the disk there are missing; nil if there is none.
    /// - Throws: If a record can't be read.
    public func gap() throws -> String? {
        // Before a disk that returns is here, the record of its departure stands.
        try names(of: IncomingRecord.prefix).first { name in
            guard let record = try directory.read(IncomingRecord.self, from: name) else { return false }
            return record.phase != .active || record.needsSource
        }.map(directory.path(of:))
    }

    /// Removes requests to move what stands there, durably.
    /// - Throws: If a later life may still go on with one; to be repeated.
    public func dropRequests() throws {
        for name in try names(of: SourceRecords.requestPrefix) {
            try directory.changing(name) { try $0.remove() }
        }
    }

    /// The names of the records of one kind that may be about the place.
    private func names(of prefix: String) throws -> [String] {
        let legacyName = StateDirectory.key(prefix, path: StateDirectory.realPath(place))
        return try directory.names(prefix: "\(prefix)-").filter { file in
            guard let head = try directory.read(RecordHead.self, from: file) else { return false }
            guard let image = head.image else { return file == legacyName }
            return image.path == place || (name != nil && image.identity?.device?[.named] == name)
        }
    }
}
