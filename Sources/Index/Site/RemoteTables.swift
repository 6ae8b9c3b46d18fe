/// The tables that another host has published, and the way to its images.
package struct RemoteTables: Sendable {
    /// Name of the host.
    package let host: String
    /// The folder with its tables.
    let folder: any SiteFolder
    let reader: any NeighbourReader

    /// - Parameters:
    ///   - folder: The folder with the host's tables; it needs no settings and no catalogue.
    ///   - reader: Reads the host's images.
    package init(host: String, folder: any SiteFolder, reader: any NeighbourReader) {
        self.host = host
        self.folder = folder
        self.reader = reader
    }
}
