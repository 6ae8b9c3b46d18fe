/// A folder of a site's store with tables or catalogues. Any thread may use it.
package protocol SiteFolder: Sendable {
    /// For messages; tells it from other folders.
    var path: String { get }

    /// Lists the files, sorted by name. Blocks for a bounded time, if the store is not a folder.
    func entries() throws -> [SiteFolderEntry]
}
