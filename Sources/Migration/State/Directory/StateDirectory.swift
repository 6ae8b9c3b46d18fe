import Block
import Foundation
import Glibc
import Hashing
import Index
import MigrationProtocol

/// Small durable records: each a JSON file that is replaced as a whole, so that a crash leaves the old or the new one.
public struct StateDirectory: Sendable {
    private let path: String
    private let heads = RecordHeads()
    private let doubts = RecordDoubts()
    private let locks = RecordLocks()
    private let flushes = DirectoryFlushes()
    private let files: any StateFiles

    /// Makes the directory if there is none.
    /// - Throws: `FileError`.
    public init(path: String) throws { try self.init(path: path, files: SystemStateFiles()) }

    init(path: String, files: any StateFiles) throws {
        self.files = files
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

    /// Runs `body` while no other thread of this node changes the record, so that it may be read and written again. `body`
    /// must not change this record otherwise.
    func changing<Result>(_ name: String, _ body: (RecordChange) throws -> Result) rethrows -> Result {
        try locks.withLock([name]) { try body(RecordChange(directory: self, name: name)) }
    }

    /// Writes a record; it is durable on return.
    /// - Throws: `UncertainRecord`; with any other error the record is as it was.
    func write(_ record: some Encodable, as name: String) throws { try changing(name) { try $0.write(record) } }

    /// The contents of a record's file.
    static func encode(_ record: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return try encoder.encode(record)
    }

    /// Writes a record whose lock is held; it is durable on return.
    func replace(_ name: String, with data: Data) throws {
        let failures = flushes.failures
        try put(data, as: name)
        try flushChange(of: name, holding: data, since: failures)
        doubts[name] = nil
    }

    /// Writes a record whose name is not durable yet.
    private func put(_ data: Data, as name: String) throws {
        let target = path(of: name)
        // The lock keeps a second writer off.
        let temporary = "\(target).\(getpid()).tmp"
        try writeDurably(data, to: temporary)
        defer { heads.forget() }
        do { try files.rename(temporary, to: target) } catch let error as FileError {
            try? files.unlink(temporary)
            throw uncertain(name, data, error)
        }
    }

    private func flushChange(of name: String, holding data: Data, since failures: Int) throws {
        do {
            try flushes.flush(path, since: failures) { try files.flush(directory: path) }
        } catch let error as FileError {
            doubts[name] = data
            throw UncertainRecord(file: path(of: name), cause: error)
        }
    }

    /// The error of an operation on a name that has failed.
    private func uncertain(_ name: String, _ data: Data, _ error: FileError) -> any Error {
        guard !UncertainRecord.harmless.contains(error.code) else { return error }
        doubts[name] = data
        return UncertainRecord(file: path(of: name), cause: error)
    }

    /// Marks a record as one that a later life may find.
    func doubt(_ name: String, holding data: Data) { doubts[name] = data }

    /// The contents of a record's file; nil if there is none.
    func contents(of name: String) throws -> Data? { try files.read(path(of: name)) }

    /// Writes a record again as it is: the write of an earlier life may not have reached the disk.
    /// - Throws: as `write`.
    func confirm(_ name: String) throws { try changing(name) { try $0.confirm() } }

    /// Finds the record of one kind that is about an image.
    /// - Parameter isElsewhere: whether an image stands at another path of this node.
    /// - Throws: if one can't be read or understood.
    func match(
        _ prefix: String, _ image: RecordedImage, twins: () -> [String] = { [] }, isElsewhere: (ImageIdentity) -> Bool
    ) throws -> RecordMatch {
        RecordMatch(
            among: try heads.all(prefix, in: self), image: image,
            legacyName: Self.legacyName(prefix, image),
            twins: twins, isElsewhere: isElsewhere)
    }

    /// The name under which earlier releases kept the record of an image at the path of `image`.
    static func legacyName(_ prefix: String, _ image: RecordedImage) -> String {
        key(prefix, path: image.realPath ?? image.path.map(realPath) ?? "")
    }

    /// Records durably where the image of a record stands, unless the record says so already.
    /// - Throws: as `setImage`.
    func recordStanding(_ image: RecordedImage, inRecord name: String) throws {
        try changing(name) { change in
            guard let head = try change.read(RecordHead.self), head.image != image else { return }
            try setImage(image, change)
        }
    }

    /// Records durably that another image stands where that of a record stood. The record stays about its own image, and
    /// leaves its name to a record about the other one.
    /// - Throws: as `setImage`.
    func disown(record name: String) throws {
        let kind = name.prefix { $0 != "-" }
        let identity = try read(RecordHead.self, from: name)?.image?.identity
        let new = identity.map { Self.key(String(kind), path: $0.key) } ?? name
        try locks.withLock([name, new]) {
            guard let head = try read(RecordHead.self, from: name) else { return }
            // An image that was known by its path alone can't be known any more.
            guard let identity = head.image?.identity else { return try erase(name) }
            let change = RecordChange(directory: self, name: name)
            try setImage(RecordedImage(identity: identity, path: nil), change)
            guard name != new, new == Self.key(String(kind), path: identity.key), try !exists(new) else { return }
            defer { heads.forget() }
            let failures = flushes.failures
            // Under either name, a later life takes the record for one about another image.
            try files.rename(path(of: name), to: path(of: new))
            try flushes.flush(path, since: failures) { try files.flush(directory: path) }
        }
    }

    /// Records durably which image a record is about, and leaves the rest of the record as it is.
    /// - Throws: `FileError`, `DamagedRecord`.
    func setImage(_ image: RecordedImage, ofRecord name: String) throws {
        try changing(name) { try setImage(image, $0) }
    }

    private func setImage(_ image: RecordedImage, _ change: RecordChange) throws {
        let file = path(of: change.name)
        guard let data = try files.read(file) else { throw FileError("read", file, code: ENOENT) }
        guard var record = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
            throw DamagedRecord(file: file)
        }
        record["image"] = try JSONSerialization.jsonObject(with: JSONEncoder().encode(image))
        if record["inode"] != nil { (record["inode"], record["birthTime"]) = image.legacyFile }
        try replace(
            change.name,
            with: JSONSerialization.data(
                withJSONObject: record, options: [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]))
    }

    /// The record of that name; nil if there is none.
    /// - Throws: if it can't be read or understood: a record that is there is never taken for none.
    func read<Record: Decodable>(_ type: Record.Type, from name: String) throws -> Record? {
        guard let data = try files.read(path(of: name)) else { return nil }
        do {
            return try JSONDecoder().decode(type, from: data)
        } catch {
            throw DamagedRecord(file: path(of: name))
        }
    }

    /// Whether there is a record of that name.
    /// - Throws: `FileError` if that can't be told.
    func exists(_ name: String) throws -> Bool { try files.exists(path(of: name)) }

    /// All records whose names begin with `prefix`.
    /// - Throws: as `read`.
    func readAll<Record: Decodable>(_ type: Record.Type, prefix: String) throws -> [(name: String, record: Record)] {
        try names(prefix: prefix).compactMap { name in try read(type, from: name).map { (name, $0) } }
    }

    /// The names of the records that begin with `prefix`, in order.
    /// - Throws: `FileError`: a directory that can't be read is never taken for an empty one.
    func names(prefix: String) throws -> [String] {
        let names = try files.names(in: path).filter { $0.hasPrefix(prefix) && $0.hasSuffix(".json") }
        return names.sorted().map { String($0.dropLast(5)) }
    }

    /// Removes a record; durable on return. No error where there is none. A removal that has failed is to be repeated.
    /// - Throws: `UncertainRecord`; with any other error the record may still be there.
    func remove(_ name: String) throws { try changing(name) { try $0.remove() } }

    /// Removes a record whose lock is held; as `remove`.
    func erase(_ name: String) throws {
        defer { heads.forget() }
        let failures = flushes.failures
        let found = try files.read(path(of: name))
        guard let data = found ?? doubts[name] else { return }
        // The name must change anew: a flush need not cover a removal that an earlier one has failed on.
        if found == nil { try put(data, as: name) }
        do { try files.unlink(path(of: name)) } catch let error as FileError { throw uncertain(name, data, error) }
        try flushChange(of: name, holding: data, since: failures)
        doubts[name] = nil
    }

    /// Removes a record that may not be there, and is to be found by no later life.
    /// - Parameter record: what it may hold meanwhile.
    /// - Throws: as `remove`.
    func remove(_ name: String, holding record: some Encodable) throws {
        try changing(name) { try $0.remove(holding: record) }
    }

    /// Removes the records of a kind whose removal has failed.
    /// - Parameter isMeant: whether a record, of which the name and the head are given, is one of the caller's.
    /// - Throws: as `remove`.
    func finishRemovals(
        _ prefix: String, where isMeant: (String, RecordHead) throws -> Bool = { _, _ in true }
    ) throws {
        for name in doubts.names where name.hasPrefix("\(prefix)-") {
            try changing(name) { change in
                guard let data = doubts[name], try !exists(name) else { return }
                if let head = try? JSONDecoder().decode(RecordHead.self, from: data), try !isMeant(name, head) {
                    return
                }
                try change.remove()
            }
        }
    }

    /// Makes the names in another directory of this node durable.
    /// - Throws: `FileError`.
    func flush(directory: String) throws { try files.flush(directory: directory) }

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

    private func writeDurably(_ data: Data, to path: String) throws {
        let descriptor = try files.create(path)
        defer { files.close(descriptor) }
        do {
            try files.write(data, to: descriptor, path)
            try files.flush(descriptor, path)
        } catch {
            try? files.unlink(path)
            throw error
        }
    }
}
