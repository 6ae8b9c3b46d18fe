import Block
import Foundation
import Index

/// The files of a site in a folder on a file system that all hosts share.
///
/// Files appear whole, by `rename`, and change by replacement only. Nothing needs locks of the file system.
struct FolderFiles: SiteFiles {
    private static let temporarySuffix = ".tmp"

    /// Path of the folder.
    let name: String

    var leasePath: String { path(of: "merge.lease") }

    func checkExistence() throws {
        guard FileManager.default.fileExists(atPath: name) else { throw FileError("open", name, code: ENOENT) }
    }

    func read(_ record: String, atMost limit: Int) throws -> Data? { try read(at: path(of: record), atMost: limit) }

    func read(at path: String, atMost limit: Int) throws -> Data? {
        // Non-blocking, because opening a named pipe would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
        guard descriptor >= 0 else {
            guard errno == ENOENT || errno == ESTALE else { throw FileError("open", path) }
            return nil
        }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            throw SiteError.damaged(file: path)
        }
        do { return try file.read(upToCount: limit) ?? Data() } catch {
            throw FileError("read", path, because: error)
        }
    }

    func write(_ data: Data, to record: String) throws { try write(data, at: path(of: record)) }

    func write(_ data: Data, at path: String) throws {
        do { try data.write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
            throw FileError("write", path, because: error)
        }
    }

    func lastWritten(_ record: String) -> Date? {
        let path = path(of: record)
        // A host without a record is as old as its folder.
        return [path, URL(fileURLWithPath: path).deletingLastPathComponent().path].lazy.compactMap {
            (try? FileManager.default.attributesOfItem(atPath: $0))?[.modificationDate] as? Date
        }.first
    }

    func makeFolder(_ folder: String) throws { try DurableFolder.make(path(of: folder)) }

    /// Checks that nobody leads this host to write and delete elsewhere.
    func checkFolder(_ folder: String) throws {
        var path = name
        for part in folder.split(separator: "/") {
            path += "/\(part)"
            var info = stat()
            guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else { throw SiteError.isLink(path) }
        }
    }

    func names(in folder: String) throws -> [String] {
        do { return try FileManager.default.contentsOfDirectory(atPath: path(of: folder)) } catch {
            throw FileError("list", path(of: folder), because: error)
        }
    }

    func removeFolder(_ folder: String, _ isWanted: () -> Bool) throws {
        do { try FileManager.default.removeItem(atPath: path(of: folder)) } catch {
            let error = FileError("delete", path(of: folder), because: error)
            if error.code != ENOENT { throw error }
        }
    }

    func folder(_ folder: String) -> any SiteFolder { DirectoryFolder(path: path(of: folder)) }

    func change(_ folder: String, _ change: SiteFolderChange, _ isWanted: () -> Bool) throws {
        try checkFolder(folder)
        let folder = path(of: folder)
        if let (source, name) = change.file { try SparseCopy.replace("\(folder)/\(name)", with: source, isWanted) }
        // Files only ever replace those that they cover, so a host that has lost the lease does no harm by a new one.
        guard change.lease?.isHeld != false else { throw SiteError.lostLease(store: name) }
        for file in change.removed { unlink("\(folder)/\(file)") }
    }

    /// The first bytes of a file, and its size; nil if it is not there or shorter.
    static func head(of path: String, count: Int) -> (bytes: [UInt8], size: UInt64)? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var info = stat()
        var bytes = [UInt8](repeating: 0, count: count)
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
            pread(descriptor, &bytes, count, 0) == count
        else { return nil }
        return (bytes, UInt64(info.st_size))
    }

    /// The copies of a host's own killed processes; catalogues are few, and the names of copies do not tell whose they are.
    func removeLeftovers(in folder: String, isOf: (String) -> Bool, _ isWanted: () -> Bool) throws {
        let owner = folder.split(separator: "/").dropFirst().last.map(String.init)
        guard let owner, isOf(owner) else { return }
        for file in try names(in: folder)
        where TablePublisher.isFile(file) && file.hasSuffix(Self.temporarySuffix) {
            unlink("\(path(of: folder))/\(file)")
        }
    }

    func temporaryFiles(in folder: String) -> [String: UInt64] {
        let names = ((try? names(in: folder)) ?? []).filter { $0.hasSuffix(Self.temporarySuffix) }
        var sizes: [String: UInt64] = [:]
        for name in names {
            var info = stat()
            if lstat("\(path(of: folder))/\(name)", &info) == 0 { sizes[name] = UInt64(max(0, info.st_size)) }
        }
        return sizes
    }

    func makeLease(host: String) -> any SiteLease { FolderLease(host: host, in: self) }
}
