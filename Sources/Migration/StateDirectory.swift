import Block
import Foundation
import Glibc
import Index

/// Small durable records: each a JSON file that is replaced as a whole, so that a crash leaves the old or the new one.
public struct StateDirectory: Sendable {
    private let path: String
    private let heads = RecordHeads()

    /// Makes the directory where there is none.
    /// - Throws: `FileError`.
    public init(path: String) throws {
        do {
            try DurableFolder.make(path)
        } catch let error as FileError {
            throw FileError("create the state directory", path, code: error.code)
        }
        self.path = path
    }

    /// A place for scratch files on the same file system.
    var scratch: String { path }

    /// The file of a record.
    func path(of name: String) -> String { "\(path)/\(name).json" }

    /// Writes a record; it is durable on return.
    /// - Throws: `FileError`.
    func write(_ record: some Encodable, as name: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try replace(name, with: try encoder.encode(record))
    }

    private func replace(_ name: String, with data: Data) throws {
        let target = path(of: name)
        let temporary = "\(target).\(getpid()).tmp"
        try Self.writeDurably(data, to: temporary)
        defer { heads.forget() }
        guard rename(temporary, target) == 0 else { throw FileError("replace", target) }
        try Self.synchronizeDirectory(path)
    }

    /// What the records of one kind say about an image.
    /// - Parameter isElsewhere: whether an image stands at another path of this node.
    /// - Throws: where one can't be read or understood.
    func match(
        _ prefix: String, _ image: RecordedImage, twins: () -> [String] = { [] }, isElsewhere: (ImageIdentity) -> Bool
    ) throws -> RecordMatch {
        RecordMatch(
            among: try heads.all(prefix, in: self), image: image,
            legacyName: Self.key(prefix, path: image.realPath ?? image.path.map(Self.realPath) ?? ""),
            twins: twins, isElsewhere: isElsewhere)
    }

    /// Notes, durably, where the image of a record stands, unless the record says so already.
    /// - Throws: as `setImage`.
    func noteStanding(_ image: RecordedImage, inRecord name: String) throws {
        guard let head = try read(RecordHead.self, from: name), head.image != image else { return }
        try setImage(image, ofRecord: name)
    }

    /// Notes, durably, that another image stands where that of a record stood. The record goes on being about its own image,
    /// and leaves its name to what is about the other.
    /// - Throws: as `setImage`.
    func disown(record name: String) throws {
        guard let head = try read(RecordHead.self, from: name) else { return }
        // What was known by its path alone is known by nothing any more.
        guard let identity = head.image?.identity else { return remove(name) }
        try setImage(RecordedImage(identity: identity, path: nil), ofRecord: name)
        let kind = name.prefix { $0 != "-" }
        let (old, new) = (path(of: name), path(of: Self.key(String(kind), path: identity.key)))
        guard old != new, access(new, F_OK) != 0 else { return }
        defer { heads.forget() }
        guard rename(old, new) == 0 else { throw FileError("rename to \(new)", old) }
        try Self.synchronizeDirectory(path)
    }

    /// Notes, durably, which image a record is about, and leaves the rest of the record as it is.
    /// - Throws: `FileError`, `DamagedRecord`.
    func setImage(_ image: RecordedImage, ofRecord name: String) throws {
        let file = path(of: name)
        let data = try StateFile.contents(file)
        guard var record = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
            throw DamagedRecord(file: file)
        }
        record["image"] = try JSONSerialization.jsonObject(with: JSONEncoder().encode(image))
        if record["inode"] != nil { (record["inode"], record["birthTime"]) = image.legacyFile }
        try replace(
            name,
            with: JSONSerialization.data(
                withJSONObject: record, options: [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]))
    }

    /// The record of that name; nil where there is none.
    /// - Throws: where it can't be read or understood: a record that is there is never taken for none.
    func read<Record: Decodable>(_ type: Record.Type, from name: String) throws -> Record? {
        let file = path(of: name)
        guard try exists(name) else { return nil }
        let data = try StateFile.contents(file)
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch {
            throw DamagedRecord(file: file)
        }
    }

    /// Whether there is a record of that name.
    /// - Throws: `FileError` where that can't be told.
    func exists(_ name: String) throws -> Bool {
        let file = path(of: name)
        guard access(file, F_OK) != 0 else { return true }
        guard errno == ENOENT else { throw FileError("look for", file) }
        return false
    }

    /// All records whose names begin with `prefix`.
    /// - Throws: as `read`.
    func readAll<Record: Decodable>(_ type: Record.Type, prefix: String) throws -> [(name: String, record: Record)] {
        try names(prefix: prefix).compactMap { name in try read(type, from: name).map { (name, $0) } }
    }

    /// The names of the records that begin with `prefix`, in order.
    /// - Throws: `FileError`: a directory that can't be read is never taken for an empty one.
    func names(prefix: String) throws -> [String] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
            throw FileError("list", path, code: EIO)
        }
        return names.filter { $0.hasPrefix(prefix) && $0.hasSuffix(".json") }.sorted().map { String($0.dropLast(5)) }
    }

    /// Removes a record; durable on return. No error where there is none.
    func remove(_ name: String) {
        defer { heads.forget() }
        unlink(path(of: name))
        try? Self.synchronizeDirectory(path)
    }

    /// A path without symbolic links; the path itself where there is no such file.
    public static func realPath(_ path: String) -> String {
        let resolved = realpath(path, nil)
        defer { free(resolved) }
        return resolved.map { String(cString: $0) } ?? path
    }

    /// A name for records about what is, or will be, at a real path.
    static func key(_ kind: String, path: String) -> String {
        let digest = Array(path.utf8).withUnsafeBytes { BlockHasher().digest($0) }
        return "\(kind)-\(DiskRoot(digest).description.prefix(32))"
    }

    /// Makes the names in a directory durable.
    /// - Throws: `FileError`.
    static func synchronizeDirectory(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError("flush", path) }
    }

    private static func writeDurably(_ data: Data, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw FileError("create", path) }
        defer { close(descriptor) }
        let written = data.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == data.count, fsync(descriptor) == 0 else {
            let failure = FileError(
                "write", path, code: written >= 0 && written < data.count ? ENOSPC : errno)
            unlink(path)
            throw failure
        }
    }
}
