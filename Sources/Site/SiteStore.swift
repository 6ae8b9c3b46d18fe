import Block
import Foundation

/// The store of a site: a folder on a file system that all hosts share.
///
/// - `site.json`: what all hosts agree on.
/// - `hosts/NAME/host.json`: the record of a host; only that host writes into its folder.
/// - `hosts/NAME/*.table`: copies of the tables of its index.
/// - `samples/*.catalogue`: catalogues of samples, by any host.
/// - `merge.lease`: who merges catalogues.
///
/// Files appear whole, by `rename`, and change by replacement only. Nothing needs locks of the file system.
package struct SiteStore: Sendable {
    private struct Settings: Codable {
        static let currentVersion = 1
        var version = currentVersion
        var blockSize: Int
    }

    /// Path of the folder.
    package let path: String

    static let recordName = "host.json"
    private static let longestJSON = 64 << 10

    package init(path: String) {
        self.path = path
    }

    var hostsPath: String { "\(path)/hosts" }
    var samplesPath: String { "\(path)/samples" }
    var leasePath: String { "\(path)/merge.lease" }
    private var settingsPath: String { "\(path)/site.json" }

    func folder(of host: String) -> String { "\(hostsPath)/\(host)" }

    /// The block size of the site in bytes.
    /// - Throws: `SiteError` if there is no site, or a later release made it; `FileError`.
    package func blockSize() throws -> Int {
        guard let settings = try read(Settings.self, at: settingsPath) else { throw SiteError.noSite(store: path) }
        guard settings.version == Settings.currentVersion else {
            throw SiteError.laterVersion(file: settingsPath, version: settings.version)
        }
        return settings.blockSize
    }

    /// Makes the site if the folder holds none. The folder itself must exist: an absent one may be a share that is not
    /// mounted.
    /// - Throws: `SiteError.otherBlockSize` if the site has other blocks; `SiteError`, `FileError`.
    func establish(blockSize wanted: Int) throws {
        guard FileManager.default.fileExists(atPath: path) else { throw FileError("open", path, code: ENOENT) }
        if try read(Settings.self, at: settingsPath) == nil {
            try DurableFolder.make(hostsPath)
            try DurableFolder.make(samplesPath)
            try write(Settings(blockSize: wanted), to: settingsPath)
        }
        let has = try blockSize()
        guard has == wanted else { throw SiteError.otherBlockSize(store: path, has: has, wanted: wanted) }
    }

    /// The names of the hosts, sorted.
    /// - Throws: `FileError` if the store can't be read.
    package func hosts() throws -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: hostsPath).filter(HostName.isValid).sorted()
        } catch {
            throw FileError("list", hostsPath, code: Self.code(of: error))
        }
    }

    /// The record of a host; nil if it has none, or another host's.
    /// - Throws: `SiteError` if it is damaged or too new; `FileError`.
    package func record(of host: String) throws -> HostRecord? {
        let path = "\(folder(of: host))/\(Self.recordName)"
        guard let record = try read(HostRecord.self, at: path) else { return nil }
        guard record.version == HostRecord.currentVersion else {
            throw SiteError.laterVersion(file: path, version: record.version)
        }
        return record.host == host ? record : nil
    }

    func write(_ record: HostRecord) throws {
        try DurableFolder.make(folder(of: record.host))
        try checkIsFolder(folder(of: record.host))
        try write(record, to: "\(folder(of: record.host))/\(Self.recordName)")
    }

    /// Checks that nobody leads this host to write and delete elsewhere.
    /// - Throws: `SiteError.isLink`.
    func checkIsFolder(_ path: String) throws {
        for path in [hostsPath, samplesPath, path] {
            var info = stat()
            guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else { throw SiteError.isLink(path) }
        }
    }

    /// The time at which a host's record was written, by the store's clock; of its folder if it has none.
    func lastWritten(by host: String) -> Date? {
        ["\(folder(of: host))/\(Self.recordName)", folder(of: host)].lazy.compactMap {
            (try? FileManager.default.attributesOfItem(atPath: $0))?[.modificationDate] as? Date
        }.first
    }

    /// Deletes all that a host has published.
    func removeFolder(of host: String) throws {
        do { try FileManager.default.removeItem(atPath: folder(of: host)) } catch {
            let code = Self.code(of: error)
            if code != ENOENT { throw FileError("delete", folder(of: host), code: code) }
        }
    }

    /// Reads a small file; nil if there is none.
    func read<Value: Decodable>(_ type: Value.Type, at path: String) throws -> Value? {
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
        let data: Data
        do { data = try file.read(upToCount: Self.longestJSON) ?? Data() } catch {
            throw FileError("read", path, code: Self.code(of: error))
        }
        guard let value = try? JSONDecoder().decode(type, from: data) else { throw SiteError.damaged(file: path) }
        return value
    }

    func write(_ value: some Encodable, to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do { try encoder.encode(value).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
            throw FileError("write", path, code: Self.code(of: error))
        }
    }

    private static func code(of error: any Error) -> CInt {
        let error = error as NSError
        let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
        if cause.domain == NSPOSIXErrorDomain { return CInt(cause.code) }
        return error.code == NSFileReadNoSuchFileError ? ENOENT : EIO
    }
}
