import Foundation
import Index
import Rados

/// The store of a site: what its hosts share.
///
/// - `site.json`: what all hosts agree on.
/// - `hosts/NAME/host.json`: the record of a host; only that host writes into its folder.
/// - `hosts/NAME/*.table`: copies of the tables of its index.
/// - `samples/*.catalogue`: catalogues of samples, by any host.
/// - `absences.json`: how long hosts have been gone; the host that merges writes it.
///
/// Any thread may use it. Calls block the thread.
package struct SiteStore: Sendable {
    private struct Settings: Codable {
        static let currentVersion = 1
        var version = currentVersion
        var blockSize: Int
    }

    static let recordName = "host.json"
    static let hostsFolder = "hosts"
    static let samplesFolder = "samples"
    /// Record of how long hosts have been gone, by whoever merges.
    static let absencesRecord = "absences.json"
    private static let settingsRecord = "site.json"
    private static let longestJSON = 64 << 10

    let files: any SiteFiles

    init(files: any SiteFiles) {
        self.files = files
    }

    /// A store in a folder.
    init(path: String) {
        files = FolderFiles(name: path)
    }

    /// - Parameter name: Path of a folder, or `rados:POOL[/NAMESPACE]`. Nothing is opened.
    /// - Throws: `SiteError.invalidStore`.
    package init(naming name: String) throws {
        guard name.hasPrefix(RadosPlace.prefix) else {
            self.init(path: name)
            return
        }
        guard let place = RadosPlace(name) else { throw SiteError.invalidStore(name) }
        self.init(files: RadosFiles(pool: RadosPool(place)))
    }

    /// The same store as a program with another working directory names it.
    package static func absolute(_ name: String) -> String {
        name.hasPrefix(RadosPlace.prefix) ? name : URL(fileURLWithPath: name).path
    }

    /// The store as users write it.
    package var name: String { files.name }

    static func folder(of host: String) -> String { "\(hostsFolder)/\(host)" }
    private static func record(of host: String) -> String { "\(folder(of: host))/\(recordName)" }

    /// The block size of the site in bytes.
    /// - Throws: `SiteError` if there is no site, or a later release made it; `FileError`, `RadosError`.
    package func blockSize() throws -> Int {
        guard let settings = try read(Settings.self, at: Self.settingsRecord) else {
            throw SiteError.noSite(store: name)
        }
        guard settings.version == Settings.currentVersion else {
            throw SiteError.laterVersion(file: files.path(of: Self.settingsRecord), version: settings.version)
        }
        return settings.blockSize
    }

    /// Makes the site if the store holds none. The store itself must exist: an absent folder may be a share that is not
    /// mounted.
    /// - Throws: `SiteError.otherBlockSize` if the site has other blocks; `SiteError`, `FileError`, `RadosError`.
    func establish(blockSize wanted: Int) throws {
        try files.checkExistence()
        if try read(Settings.self, at: Self.settingsRecord) == nil {
            try files.makeFolder(Self.hostsFolder)
            try files.makeFolder(Self.samplesFolder)
            try write(Settings(blockSize: wanted), to: Self.settingsRecord)
        }
        let has = try blockSize()
        guard has == wanted else { throw SiteError.otherBlockSize(store: name, has: has, wanted: wanted) }
    }

    /// The names of the hosts, sorted.
    /// - Throws: `FileError`, `RadosError` if the store can't be read.
    package func hosts() throws -> [String] {
        try files.names(in: Self.hostsFolder).filter(HostName.isValid).sorted()
    }

    /// The record of a host; nil if it has none, or another host's.
    /// - Throws: `SiteError` if it is damaged or too new; `FileError`, `RadosError`.
    package func record(of host: String) throws -> HostRecord? {
        guard let record = try read(HostRecord.self, at: Self.record(of: host)) else { return nil }
        guard record.version == HostRecord.currentVersion else {
            throw SiteError.laterVersion(file: files.path(of: Self.record(of: host)), version: record.version)
        }
        return record.host == host ? record : nil
    }

    func write(_ record: HostRecord) throws {
        let folder = Self.folder(of: record.host)
        try files.makeFolder(folder)
        try files.checkFolder(folder)
        try write(record, to: Self.record(of: record.host))
    }

    /// The time at which a host's record was written, by the clock of the store or the host.
    func lastWritten(by host: String) -> Date? { files.lastWritten(Self.record(of: host)) }

    /// Deletes all that a host has published.
    /// - Throws: `CancellationError` once `isWanted` returns false; the next call goes on.
    func removeFolder(of host: String, _ isWanted: () -> Bool = { true }) throws {
        try files.removeFolder(Self.folder(of: host), isWanted)
    }

    /// The tables of a host, and the way to its images.
    func tables(of host: String, _ reader: any NeighbourReader) -> RemoteTables {
        RemoteTables(host: host, folder: files.folder(Self.folder(of: host)), reader: reader)
    }

    /// The folder of the catalogues of samples.
    var samples: any SiteFolder { files.folder(Self.samplesFolder) }

    /// Reads a record; nil if there is none.
    func read<Value: Decodable>(_ type: Value.Type, at record: String) throws -> Value? {
        guard let data = try files.read(record, atMost: Self.longestJSON) else { return nil }
        guard let value = try? JSONDecoder().decode(type, from: data) else {
            throw SiteError.damaged(file: files.path(of: record))
        }
        return value
    }

    func write(_ value: some Encodable, to record: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        try files.write(encoder.encode(value), to: record)
    }
}
