import Block
import Foundation
import Glibc
import Index

/// Small durable records: each a JSON file that is replaced as a whole, so that a crash leaves the old or the new one.
public struct StateDirectory: Sendable {
    private let path: String

    /// Makes the directory where there is none.
    /// - Throws: `FileError`.
    public init(path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw FileError("create the state directory", path, code: errno == 0 ? EACCES : errno)
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
        let target = path(of: name)
        let temporary = "\(target).\(getpid()).tmp"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let data = try encoder.encode(record)
        try Self.writeDurably(data, to: temporary)
        guard rename(temporary, target) == 0 else { throw FileError("replace", target) }
        try Self.synchronizeDirectory(path)
    }

    /// The record of that name; nil where there is none.
    /// - Throws: where it can't be read or understood: a record that is there is never taken for none.
    func read<Record: Decodable>(_ type: Record.Type, from name: String) throws -> Record? {
        let file = path(of: name)
        guard try exists(name) else { return nil }
        guard let data = FileManager.default.contents(atPath: file) else { throw FileError("read", file) }
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
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return try names.filter { $0.hasPrefix(prefix) && $0.hasSuffix(".json") }.sorted().compactMap {
            let name = String($0.dropLast(5))
            return try read(type, from: name).map { (name, $0) }
        }
    }

    /// Removes a record; durable on return. No error where there is none.
    func remove(_ name: String) {
        unlink(path(of: name))
        try? Self.synchronizeDirectory(path)
    }

    /// A path without symbolic links; the path itself where there is no such file.
    static func realPath(_ path: String) -> String {
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
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
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
