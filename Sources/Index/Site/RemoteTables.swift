/// The tables that another host has published, and the way to its images.
package struct RemoteTables: Sendable {
    /// Name of the host.
    let host: String
    /// Path of the directory with its tables.
    let directory: String
    let reader: any NeighbourReader

    /// - Parameters:
    ///   - directory: Path of the directory with the host's tables; it needs no settings and no catalogue.
    ///   - reader: Reads the host's images.
    package init(host: String, directory: String, reader: any NeighbourReader) {
        self.host = host
        self.directory = directory
        self.reader = reader
    }
}
