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

    /// A disk on an RBD image.
    package struct Disk: Codable, Sendable {
        /// `rbd:POOL/IMAGE`.
        package let image: String
        package let export: String
        /// The host that serves it.
        package let host: String
        package let state: DiskRecord.State
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
    /// Disks on RBD images; nil where the store keeps none.
    package let disks: [Disk]?
    /// One line for each thing that is wrong: which, why, and what to do.
    package let problems: [String]

    /// Looks at a site. Blocks the thread.
    /// - Parameter check: How much of each file is verified.
    /// - Throws: `SiteError` if there is no site; `FileError`.
    package init(of store: SiteStore, check: TableCheck = .resident) throws {
        let (names, tables) = try store.hostsAndTables(check: check)
        self.init(of: store, names, tables)
    }

    fileprivate init(of store: SiteStore, _ names: [String], _ tables: SiteTables) {
        block = tables.blockSize
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
        var disks: [Disk]?
        if let register = try? DiskRegister(of: store) {
            do {
                let all = try register.all()
                disks = all.disks.map { Disk(image: $0.image, export: $0.export, host: $0.host, state: $0.state) }
                problems += all.problems.map { "\($0)" }
            } catch { problems.append("\(error)") }
        }
        self.disks = disks
        self.store = store.name
        catalogues = tables.catalogues
        catalogueBytes = tables.sampleBytes
        unlisted = tables.uncovered
        self.problems = problems
    }
}

extension SiteStore {
    /// Opens the tables of all hosts, of which no image can be read, and the report about them. Blocks the thread.
    /// - Throws: `SiteError` if there is no site; `FileError`.
    package func survey() throws -> (report: SiteReport, tables: SiteTables) {
        let (names, tables) = try hostsAndTables(check: .resident)
        return (SiteReport(of: self, names, tables), tables)
    }

    fileprivate func hostsAndTables(check: TableCheck) throws -> ([String], SiteTables) {
        // The settings come first: a folder without them is no site, and the error says so.
        let block = try blockSize()
        let names = try hosts()
        let tables = SiteTables(
            hosts: names.map { self.tables(of: $0, NoReader.shared) }, samples: samples, blockSize: block, check: check)
        return (names, tables)
    }

    /// Watches a host, and removes it with all that it has published if its record has not changed. Times of files do not
    /// count, since clocks may be wrong. Blocks the thread.
    /// - Parameter watch: How long to watch; nil for as long as a busy host may need for a beat.
    /// - Throws: `SiteError.isAlive` if its node takes part, `SiteError.noSuchHost`; `FileError`.
    package func remove(_ host: String, watching watch: Duration? = nil) throws {
        _ = try blockSize()
        guard HostName.isValid(host), try hosts().contains(host) else {
            throw SiteError.noSuchHost(host, store: name)
        }
        let first = try? record(of: host)
        let looksAlive = try SiteReport(of: self).hosts.first { $0.host == host }?.isAlive ?? false
        let end = ContinuousClock.now + (watch ?? (looksAlive ? Heartbeats.limit : Heartbeats.interval * 2.5))
        while true {
            let now = try? record(of: host)
            guard now?.instance == first?.instance, now?.beat == first?.beat else { throw SiteError.isAlive(host) }
            guard ContinuousClock.now < end else { return try removeFolder(of: host) }
            usleep(500_000)
        }
    }
}
