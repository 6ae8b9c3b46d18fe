import Block
import Foundation
import Index

/// Copies the tables of this host's index to its folder of the store.
struct TablePublisher: Sendable {
    private static let suffix = ".table"
    /// Hexadecimal digits with which the name of each table begins.
    private static let digits = 32
    /// Bytes of a table's head, which has the table's random generation.
    private static let head = 256

    /// Path of the index.
    let index: String
    let host: String
    let files: any SiteFiles

    private var folder: String { SiteStore.folder(of: host) }
    /// Path of the folder, if the store is one.
    private var path: String { files.path(of: folder) }

    /// Whether a file's name begins as those of tables do.
    static func isFile(_ name: String) -> Bool { name.prefix(while: \.isHexDigit).count == digits }

    /// Makes the folder hold the tables of the index as they are now. Blocks for as long as the copies take.
    /// - Returns: The number of tables that were copied or deleted.
    /// - Throws: `FileError`, `RadosError`, and `CancellationError` once `isWanted` returns false; what was copied before
    ///   stays.
    func publish(_ isWanted: () -> Bool) throws -> Int {
        try files.removeLeftovers(in: folder, isOf: { $0 == host }, isWanted)
        let here = try tables()
        let published = try published()
        var changes = 0
        for name in here where !isSame(name, published[name]) { if try copy(name, isWanted) { changes += 1 } }
        let there = Set(published.keys).union(try files.names(in: folder))
        let gone = there.filter { Self.isFile($0) && $0.hasSuffix(Self.suffix) && !here.contains($0) }
        if !gone.isEmpty { try files.change(folder, SiteFolderChange(host: host, removed: gone.sorted()), isWanted) }
        return changes + gone.count
    }

    /// Publishes tables again whose bytes in the store are not those of the index any more.
    /// - Returns: Their names.
    /// - Throws: As `publish`.
    func mend(_ check: inout PublishedCheck, _ isWanted: () -> Bool) throws -> [String] {
        let published = try published()
        let same = try tables().filter { isSame($0, published[$0]) }
        let damaged = check.run(same, index: index, published: published, folder: path, isWanted: isWanted)
        return try damaged.filter { name in
            // Another process may have replaced the table of the index in between: then it is published as usual.
            try isSame(name, published[name]) && copy(name, isWanted)
        }
    }

    /// The tables of the index, sorted.
    private func tables() throws -> [String] { try Self.files(in: index).filter { $0.hasSuffix(Self.suffix) }.sorted() }

    /// The files of this host in the store.
    private func published() throws -> [String: SiteFolderEntry] {
        let entries = try files.folder(folder).entries()
        return Dictionary(entries.map { ($0.name, $0) }) { first, _ in first }
    }

    /// - Returns: False if the image was removed from the index meanwhile, or is too large for the store.
    private func copy(_ name: String, _ isWanted: () -> Bool) throws -> Bool {
        do {
            let file = (source: "\(index)/\(name)", name: name)
            try files.change(folder, SiteFolderChange(host: host, file: file), isWanted)
        } catch SiteError.tooLarge {
            return false
        } catch let error as FileError {
            if error.code == ENOENT, error.path == "\(index)/\(name)" { return false }
            throw error
        }
        return true
    }

    private func isSame(_ name: String, _ entry: SiteFolderEntry?) -> Bool {
        guard let entry, let ours = FolderFiles.head(of: "\(index)/\(name)", count: Self.head) else { return false }
        guard let stored = entry.stored else {
            let theirs = FolderFiles.head(of: "\(path)/\(name)", count: Self.head)
            return theirs.map { $0 == ours } ?? false
        }
        var bytes = [UInt8](repeating: 0, count: Self.head)
        return stored.size == ours.size && bytes.withUnsafeMutableBytes { stored.read(into: $0, at: 0) }
            && bytes == ours.bytes
    }

    private static func files(in folder: String) throws -> [String] {
        do { return try FileManager.default.contentsOfDirectory(atPath: folder) } catch {
            throw FileError("list", folder, code: ENOENT)
        }
    }
}
