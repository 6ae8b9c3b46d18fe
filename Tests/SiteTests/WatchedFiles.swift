import Foundation
import Index

@testable import Site

/// A store that says whose leftovers are looked for among the samples, and lets a test act while tables are published.
struct WatchedFiles: SiteFiles {
    let base: any SiteFiles
    /// Called before a folder changes, with its name.
    var willChange: @Sendable (String) -> Void = { _ in }
    /// Called with what tells whether a host's leftovers are removed.
    var willRemove: @Sendable (String, (String) -> Bool) -> Void = { _, _ in }

    var name: String { base.name }

    func checkExistence() throws { try base.checkExistence() }
    func read(_ record: String, atMost limit: Int) throws -> Data? { try base.read(record, atMost: limit) }
    func write(_ data: Data, to record: String) throws { try base.write(data, to: record) }
    func lastWritten(_ record: String) -> Date? { base.lastWritten(record) }
    func makeFolder(_ folder: String) throws { try base.makeFolder(folder) }
    func checkFolder(_ folder: String) throws { try base.checkFolder(folder) }
    func names(in folder: String) throws -> [String] { try base.names(in: folder) }
    func folder(_ folder: String) -> any SiteFolder { base.folder(folder) }
    func temporaryFiles(in folder: String) -> [String: UInt64] { base.temporaryFiles(in: folder) }
    func makeLease(host: String) -> any SiteLease { base.makeLease(host: host) }

    func removeFolder(_ folder: String, _ isWanted: () -> Bool) throws { try base.removeFolder(folder, isWanted) }

    func change(_ folder: String, _ change: SiteFolderChange, _ isWanted: () -> Bool) throws {
        willChange(folder)
        try base.change(folder, change, isWanted)
    }

    func removeLeftovers(in folder: String, isOf: (String) -> Bool, _ isWanted: () -> Bool) throws {
        willRemove(folder, isOf)
        try base.removeLeftovers(in: folder, isOf: isOf, isWanted)
    }
}
