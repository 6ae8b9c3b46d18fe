import Block
import Foundation
import Index

/// What a member of a site does, and what it remembers from turn to turn.
struct SiteWork: Sendable {
    /// The time after which a host that is gone is removed. Its images may come back with it until then.
    private static let grace = Duration.seconds(7 * 86_400)

    private let store: SiteStore
    private let identity: SiteMember.Identity
    private let index: String
    private let scratch: String
    private let blockSize: Int
    private let makeReader: @Sendable (HostRecord) -> (any NeighbourReader)?
    private let instance = UInt64.random(in: 1 ... .max)
    private var beat: UInt64 = 0
    private var heartbeats = Heartbeats()
    private var lease: MergeLease
    private var readers: [String: (record: HostRecord, reader: any NeighbourReader)] = [:]
    /// Those of all hosts, this one's too.
    private var tables: SiteTables?

    let view = SiteView()

    init(
        store: SiteStore, identity: SiteMember.Identity, index: String, scratch: String,
        makeReader: @escaping @Sendable (HostRecord) -> (any NeighbourReader)?
    ) throws {
        guard HostName.isValid(identity.host) else { throw SiteError.invalidName(identity.host) }
        // A table in the store is the same as here, so the blocks must be of one size.
        blockSize = try IndexStore(directory: index).blockSize
        try store.establish(blockSize: blockSize)
        try DurableFolder.make(scratch)
        self.store = store
        self.identity = identity
        self.index = index
        self.scratch = scratch
        self.makeReader = makeReader
        lease = MergeLease(host: identity.host)
        beat = (try? store.record(of: identity.host))?.beat ?? 0
    }

    mutating func turn(_ isWanted: @escaping @Sendable () -> Bool) -> SiteMember.Turn {
        var turn = SiteMember.Turn()
        do {
            guard try writeRecord() else {
                turn.problems.append(
                    "another node takes part in the site as '\(identity.host)': give each host a name of its own")
                return turn
            }
            let publisher = TablePublisher(index: index, folder: store.folder(of: identity.host))
            turn.published = try publisher.publish(isWanted)
            try makeCatalogues(of: try look(&turn), &turn, isWanted)
        } catch is CancellationError {
            // What is left is the next process's.
        } catch {
            turn.problems.append("\(error)")
        }
        return turn
    }

    func leave() { lease.release(in: store) }

    // MARK: The parts of a turn

    /// - Returns: False if another process writes this host's record.
    private mutating func writeRecord() throws -> Bool {
        if let current = try? store.record(of: identity.host), current.instance != instance, beat != current.beat {
            return false
        }
        beat &+= 1
        try store.write(
            HostRecord(
                host: identity.host, address: identity.address, instance: instance, beat: beat,
                certificate: identity.certificate, release: identity.release))
        return true
    }

    private mutating func look(_ turn: inout SiteMember.Turn) throws -> SiteTables {
        var records: [HostRecord] = []
        for host in try store.hosts() {
            do { if let record = try store.record(of: host) { records.append(record) } } catch {
                turn.problems.append("\(error)")
            }
        }
        let now = ContinuousClock.now
        heartbeats.look(at: records, now: now)
        let alive = records.filter { $0.host != identity.host && heartbeats.isAlive($0.host, now: now) }
        readers = readers.filter { name, _ in alive.contains { $0.host == name } }
        let hosts = try store.hosts().map { host in
            let record = alive.first { $0.host == host }
            return RemoteTables(
                host: host, directory: store.folder(of: host),
                reader: record.map { reader(for: $0) } ?? NoReader.shared)
        }
        let tables = SiteTables(
            hosts: hosts, samples: store.samplesPath, blockSize: blockSize, scratch: scratch, after: tables)
        turn.problems += tables.problems
        self.tables = tables
        view.update(tables.only(of: Set(alive.map(\.host))), records)
        return tables
    }

    private mutating func reader(for record: HostRecord) -> any NeighbourReader {
        if let known = readers[record.host], known.record.address == record.address { return known.reader }
        let reader = makeReader(record) ?? NoReader.shared
        readers[record.host] = (record, reader)
        return reader
    }

    private mutating func makeCatalogues(
        of tables: SiteTables, _ turn: inout SiteMember.Turn, _ isWanted: @escaping @Sendable () -> Bool
    ) throws {
        turn.merges = try lease.hold(in: store, now: .now)
        let change = try SampleCatalogues(scratch: scratch, threads: 1).update(
            tables, isMerging: turn.merges, owner: turn.merges ? nil : identity.host, isWanted: isWanted)
        if let file = change.file {
            defer { unlink(file) }
            try SparseCopy.replace(
                "\(store.samplesPath)/\(URL(fileURLWithPath: file).lastPathComponent)", with: file, isWanted)
        }
        guard turn.merges, lease.isHeld(in: store) else { return }
        for name in change.replaced { unlink("\(store.samplesPath)/\(name)") }
        turn.removed = try removeHostsThatAreGone()
    }

    /// Removes hosts by the age of their records against this host's: the store's clock wrote both.
    private func removeHostsThatAreGone() throws -> [String] {
        guard let own = store.lastWritten(by: identity.host) else { return [] }
        let gone = try store.hosts().filter { host in
            guard host != identity.host, !heartbeats.isAlive(host, now: .now), let seen = store.lastWritten(by: host)
            else {
                return false
            }
            return own.timeIntervalSince(seen) > TimeInterval(Self.grace.components.seconds)
        }
        for host in gone { try store.removeFolder(of: host) }
        return gone
    }
}
