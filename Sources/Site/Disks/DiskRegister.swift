import Foundation
import Rados

/// The disks on RBD images that the hosts of a site serve, in a RADOS store. Any thread may use it. Calls block the thread.
///
/// A record changes by comparison: whoever has not seen the latest one changes nothing.
package struct DiskRegister: DiskRecords {
    static let folder = "disks"
    private static let attribute = "generation"
    private static let longestRecord = 64 << 10

    private let store: SiteStore
    private let pool: RadosPool
    /// For how long a host is watched.
    private let watch: Duration

    /// - Throws: `DiskError.folder` if the store is none of RADOS.
    package init(of store: SiteStore) throws { try self.init(of: store, watch: Heartbeats.limit) }

    init(of store: SiteStore, watch: Duration) throws {
        guard let files = store.files as? RadosFiles else { throw DiskError.folder(store.name) }
        self.store = store
        // A record that can't be read at once may decide whether a disk is served.
        pool = files.pool.patient
        self.watch = watch
    }

    /// The records of all disks, sorted by image, and why others can't be understood.
    /// - Throws: `RadosError`.
    package func all() throws -> (disks: [DiskRecord], problems: [any Error]) {
        var (disks, problems): ([DiskRecord], [any Error]) = ([], [])
        for entry in try pool.entries(Self.folder) ?? [] {
            do { if let disk = try record(of: entry.key) { disks.append(disk) } } catch let error as DiskError {
                problems.append(error)
            } catch let error as SiteError {
                problems.append(error)
            }
        }
        return (disks.sorted { $0.image < $1.image }, problems)
    }

    /// The record of a disk; nil if there is none.
    func record(of image: String) throws -> DiskRecord? {
        let object = Self.object(image)
        guard let data = try pool.contents(object, atMost: Self.longestRecord) else { return nil }
        return try DiskRecord(from: data, of: image, at: "\(store.name)/\(object)")
    }

    /// Reads all records. Those that are damaged do not count.
    func record(ofRenamed image: String, identity: String) throws -> DiskRecord? {
        let pool = RBDPlace(image)?.pool
        return try all().disks.first {
            $0.identity == identity && $0.image != image && RBDPlace($0.image)?.pool == pool
        }
    }

    func write(_ record: DiskRecord, after old: DiskRecord?) throws -> DiskRecord? {
        var record = record
        // Random at first: whoever knows an earlier record of the image must not take this one for it.
        record.generation = (old?.generation ?? .random(in: 0 ... .max / 2)) &+ 1
        let object = Self.object(record.image)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let data = try encoder.encode(record)
        guard data.count <= Self.longestRecord else { throw DiskError.tooLong(record.image) }
        let first: RadosChange = old.map { .expect(attribute: Self.attribute, value: "\($0.generation)") } ?? .create
        let steps = [
            first, .setAttribute(Self.attribute, value: "\(record.generation)"), .contents(data),
        ]
        if old == nil {
            try pool.change(Self.folder, [.createIfAbsent, .set(key: record.image, value: Data())])
        }
        return try pool.change(object, steps, allowing: [ECANCELED, EEXIST, ENOENT]) >= 0 ? record : nil
    }

    /// Gives a disk to a host, and sees that whoever served it never writes again.
    /// - Parameters:
    ///   - name: Of the export, or `rbd:POOL/IMAGE`.
    ///   - isForced: Whether the node that served it counts as gone, whatever its record says.
    /// - Returns: The record before.
    /// - Throws: `DiskError`, `SiteError`, `RadosError`. A takeover that failed halfway can be done again.
    package func takeOver(_ name: String, by host: String, isForced: Bool) throws -> DiskRecord {
        guard HostName.isValid(host) else { throw SiteError.invalidName(host) }
        let old = try find(name)
        switch old.state {
        case .arriving: throw DiskError.isArriving(old)
        case .leaving: throw DiskError.isLeaving(old)
        case .served: break
        }
        // Nobody has opened it since it was given to that host.
        if !isForced, old.instance != 0 { try checkIsGone(old.host, except: 0) }
        guard let place = RBDPlace(old.image) else {
            throw SiteError.damaged(file: "\(store.name)/\(Self.object(old.image))")
        }
        return try Self.give(old, to: host, in: self, users: RBDImage(place))
    }

    /// Writes a host into a record, and fences the clients of the one before.
    /// - Returns: The record before.
    static func give(
        _ old: DiskRecord, to host: String, in records: any DiskRecords, users: any DiskUsers
    ) throws -> DiskRecord {
        // A client that opens the image later than this finds that it may not: none of the new owner is among these.
        let use = try users.use()
        guard use.identity == old.identity else { throw DiskError.otherImage(old.image) }
        // It may have been enabled since the disk was opened.
        if let feature = use.detour { throw DiskError.writesElsewhere(old.image, feature: feature) }
        var next = old
        (next.host, next.instance, next.home) = (host, 0, 0)
        // One that was stopped for long is none that the image knows, and is in the record.
        next.clients = Set(old.clients).union(use.clients).sorted()
        guard let given = try records.write(next, after: old) else { throw DiskError.isBusy(old.image) }
        _ = try records.fence(given, of: users)
        return old
    }

    /// Compares beats and no clocks. What can't be read may be a node that lives.
    func checkIsGone(_ host: String, except instance: UInt64) throws {
        func seen() throws -> HostRecord? {
            let record = try store.record(of: host)
            return record?.instance == instance ? nil : record
        }
        let (end, first) = (ContinuousClock.now + watch, try seen())
        while .now < end {
            Thread.sleep(forTimeInterval: min(1, watch / .seconds(4)))
            if let record = try seen(), record.instance != first?.instance || record.beat != first?.beat {
                throw DiskError.ownerIsAlive(host)
            }
        }
    }

    private func find(_ name: String) throws -> DiskRecord {
        if let place = RBDPlace(name) {
            if let record = try record(of: place.description) { return record }
            throw DiskError.unknown(name, store: store.name)
        }
        let (disks, problems) = try all()
        let found = disks.filter { $0.export == name }
        // It may be the one of which the record is damaged.
        guard let first = found.first else { throw problems.first ?? DiskError.unknown(name, store: store.name) }
        guard found.count == 1 else { throw DiskError.ambiguous(name, images: found.map(\.image)) }
        return first
    }

    private static func object(_ image: String) -> String { "\(folder)/\(image)" }
}
