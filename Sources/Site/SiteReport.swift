import Block
import Foundation
import Index

/// The state of a site for its operators. The JSON form is part of nearblock's interface.
package struct SiteReport: Codable, Sendable {
    /// One host of the site.
    package struct Host: Codable, Sendable {
        package let host: String
        /// Address of its node for peers; nil if its record can't be read.
        package let address: String?
        package let release: String?
        /// Whether its node has written its record in the last minute.
        package let isAlive: Bool
        /// Seconds since then, by the store's clock as far as it can be told.
        package let lastSeenSeconds: Double
        /// The images that it lends.
        package let images: [Image]

        private enum CodingKeys: String, CodingKey {
            case host, address, release
            case isAlive = "alive"
            case lastSeenSeconds, images
        }
    }

    /// An image that a host lends.
    package struct Image: Codable, Sendable {
        package let name: String
        package let domain: String
        /// Bytes.
        package let size: UInt64
    }

    package let store: String
    /// Bytes of a block.
    package let block: Int
    /// Sorted by name.
    package let hosts: [Host]
    /// Catalogues of samples, and their size in bytes.
    package let catalogues: Int
    package let catalogueBytes: UInt64
    /// Images whose samples are in no catalogue yet: no other host finds them.
    package let unlisted: Int
    /// One line for each thing that is wrong: which, why, and what to do.
    package let problems: [String]

    /// Looks at a site. Blocks the thread.
    /// - Parameter check: How much of each file is verified.
    /// - Throws: `SiteError` if there is no site; `FileError`.
    package init(of store: SiteStore, check: TableCheck = .resident) throws {
        block = try store.blockSize()
        let names = try store.hosts()
        let tables = SiteTables(
            hosts: names.map { RemoteTables(host: $0, directory: store.folder(of: $0), reader: NoReader.shared) },
            samples: store.samplesPath, blockSize: block, check: check)
        var problems = tables.problems
        let neighbours = Dictionary(grouping: tables.neighbours) { $0.host ?? "" }
        let seen = names.map { store.lastWritten(by: $0) }
        // Records are stamped by the store: its newest one tells its clock at least.
        let now = max(Date(), seen.compactMap(\.self).max() ?? .distantPast)
        hosts = zip(names, seen).map { name, seen in
            var record: HostRecord?
            do { record = try store.record(of: name) } catch { problems.append("\(error)") }
            let age = seen.map { now.timeIntervalSince($0) } ?? now.timeIntervalSince1970
            return Host(
                host: name, address: record?.address, release: record?.release,
                isAlive: record != nil && age < TimeInterval(Heartbeats.limit.components.seconds),
                lastSeenSeconds: age.rounded(),
                images: (neighbours[name] ?? []).map { Image(name: $0.name, domain: $0.domain, size: $0.size) })
        }
        self.store = store.path
        catalogues = tables.catalogues
        catalogueBytes = tables.sampleBytes
        unlisted = tables.uncovered
        self.problems = problems
    }
}

extension SiteStore {
    /// Removes a host with all that it has published.
    /// - Throws: `SiteError.isAlive` if its node takes part, `SiteError.noSuchHost`; `FileError`.
    package func remove(_ host: String) throws {
        _ = try blockSize()
        guard HostName.isValid(host), try hosts().contains(host) else {
            throw SiteError.noSuchHost(host, store: path)
        }
        let report = try SiteReport(of: self).hosts.first { $0.host == host }
        guard report?.isAlive != true else { throw SiteError.isAlive(host) }
        try removeFolder(of: host)
    }
}
