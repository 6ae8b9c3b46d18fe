import Foundation
import Index

/// The files of a site, wherever they are kept. Names are relative, as in `hosts/a/host.json`.
///
/// *Records* are small and replaced whole. *Folders* hold files that never change and appear whole. Any thread may use it. All
/// calls block the thread.
protocol SiteFiles: Sendable {
    /// The place as users write it.
    var name: String { get }

    /// Checks that the place itself is there: it is never made.
    func checkExistence() throws

    /// Reads a record; nil if there is none.
    /// - Parameter limit: Bytes; what follows them is left out.
    func read(_ record: String, atMost limit: Int) throws -> Data?
    func write(_ data: Data, to record: String) throws
    /// The time at which a record was written, by the store's clock or that of the host that wrote it; nil if there is none.
    func lastWritten(_ record: String) -> Date?

    /// Makes a folder in one that is there, unless it is there itself.
    func makeFolder(_ folder: String) throws
    /// Checks that a folder is what this program has made.
    func checkFolder(_ folder: String) throws
    /// The names of the folders and files in a folder.
    func names(in folder: String) throws -> [String]
    /// Removes a folder with all that is in it, if it is there.
    /// - Parameter isWanted: Asked now and then whether to go on.
    /// - Throws: `CancellationError` once `isWanted` returns false; the next call goes on.
    func removeFolder(_ folder: String, _ isWanted: () -> Bool) throws
    /// The way to the files of a folder.
    func folder(_ folder: String) -> any SiteFolder

    /// Changes the files of a folder: first the new one is there, then the others go.
    /// - Throws: `SiteError.lostLease` if the lease was lost meanwhile: nothing has changed then, as far as the store can tell.
    func change(_ folder: String, _ change: SiteFolderChange, _ isWanted: () -> Bool) throws
    /// Removes what writers that were killed have left in a folder. A call may remove a part, and the next one goes on.
    /// - Parameters:
    ///   - isOf: Whether the writer was a host's; asked where the store knows it.
    ///   - isWanted: Asked now and then whether to go on.
    func removeLeftovers(in folder: String, isOf: (String) -> Bool, _ isWanted: () -> Bool) throws

    /// The files of copies in the making in a folder of all hosts, and their sizes in bytes, if the store knows no
    /// writers. Empty if `removeLeftovers` finds them, or the folder can't be read.
    func temporaryFiles(in folder: String) -> [String: UInt64]

    /// Makes the lease of the host that merges.
    func makeLease(host: String) -> any SiteLease
}

extension SiteFiles {
    func path(of record: String) -> String { "\(name)/\(record)" }
}
