import Block
import Foundation
import Index

/// The part of a member that other hosts must not wait for: its record, the lease, and the look at the other hosts.
struct SitePresence: Sendable {
    private let store: SiteStore
    private let identity: SiteMember.Identity
    private let scratch: String
    private let blockSize: Int
    private let makeReader: @Sendable (HostRecord) -> (any NeighbourReader)?
    private let instance: UInt64
    private var hasJoined = false
    private var beat: UInt64 = 0
    private var certificates: [String] = []
    private var heartbeats = Heartbeats()
    let lease: any SiteLease
    private var readers: [String: (record: HostRecord, reader: any NeighbourReader)] = [:]
    /// The record of another process with this host's name, and since when it has been the same.
    private var foreign: (record: HostRecord, since: ContinuousClock.Instant)?
    /// Those of all hosts, this one's too.
    private var tables: SiteTables?

    let view = SiteView()

    init(
        store: SiteStore, identity: SiteMember.Identity, scratch: String, blockSize: Int,
        makeReader: @escaping @Sendable (HostRecord) -> (any NeighbourReader)?
    ) {
        self.store = store
        self.identity = identity
        instance = identity.instance
        self.scratch = scratch
        self.blockSize = blockSize
        self.makeReader = makeReader
        lease = store.files.makeLease(host: identity.host)
    }

    /// Writes the record, renews the lease and looks at the other hosts.
    mutating func renew() -> SiteMember.Turn {
        var turn = SiteMember.Turn()
        do {
            if !hasJoined {
                try store.establish(blockSize: blockSize)
                beat = (try? store.record(of: identity.host))?.beat ?? 0
                hasJoined = true
            }
            let now = ContinuousClock.now
            guard try writeRecord(now) else {
                turn.problems.append(
                    "another node takes part in the site as '\(identity.host)': give each host a name of its own")
                return turn
            }
            // A lease that fails must not keep the others from being seen.
            do { turn.merges = try lease.hold(now: now) } catch { turn.problems.append("\(error)") }
            try look(&turn, now)
        } catch {
            turn.problems.append("\(error)")
        }
        return turn
    }

    func leave() { lease.release() }

    /// Findings of the last look; nil before the first.
    var latest: (tables: SiteTables, heartbeats: Heartbeats)? { tables.map { ($0, heartbeats) } }

    /// - Returns: False if another process writes this host's record. One that has ended leaves the name after a minute.
    private mutating func writeRecord(_ now: ContinuousClock.Instant) throws -> Bool {
        if let current = try? store.record(of: identity.host), current.instance != instance, beat != current.beat {
            if foreign?.record != current { foreign = (current, now) }
            guard let foreign, now - foreign.since >= Heartbeats.limit else { return false }
            beat = current.beat
        }
        foreign = nil
        beat &+= 1
        // Others may still see the record before a reload, or the connection after it.
        if let certificate = identity.certificate(), certificates.first != certificate {
            certificates = [certificate] + certificates.prefix(1)
        }
        try store.write(
            HostRecord(
                host: identity.host, address: identity.address, instance: instance, beat: beat,
                certificates: certificates, release: identity.release))
        return true
    }

    private mutating func look(_ turn: inout SiteMember.Turn, _ now: ContinuousClock.Instant) throws {
        let names = try store.hosts()
        var records: [HostRecord] = []
        for host in names {
            do { if let record = try store.record(of: host) { records.append(record) } } catch {
                turn.problems.append("\(error)")
            }
        }
        heartbeats.look(at: records, now: now)
        let alive = records.filter { $0.host != identity.host && heartbeats.isAlive($0.host) == true }
        readers = readers.filter { name, _ in alive.contains { $0.host == name } }
        let hosts = names.map { host in
            let record = alive.first { $0.host == host }
            return store.tables(of: host, record.map { reader(for: $0) } ?? NoReader.shared)
        }
        let tables = SiteTables(
            hosts: hosts, samples: store.samples, blockSize: blockSize, scratch: scratch, after: tables)
        turn.problems += tables.problems
        self.tables = tables
        view.update(
            tables.only(of: Set(alive.map(\.host))), records, others: alive,
            figures(tables, hosts: names.count, others: alive.count, now))
    }

    private func figures(
        _ tables: SiteTables, hosts: Int, others: Int, _ now: ContinuousClock.Instant
    ) -> SiteFigures {
        var figures = SiteFigures(looked: now)
        // Its own record was written just now.
        (figures.alive, figures.gone) = (others + 1, max(0, hosts - others - 1))
        let own = tables.neighbours.filter { $0.host == identity.host }
        (figures.tables, figures.tableBytes) = (own.count, own.reduce(0) { $0 &+ $1.tableBytes })
        (figures.samples, figures.sampleBytes) = (tables.sampleCount, tables.sampleBytes)
        return figures
    }

    private mutating func reader(for record: HostRecord) -> any NeighbourReader {
        if let known = readers[record.host], known.record.address == record.address { return known.reader }
        let reader = makeReader(record) ?? NoReader.shared
        readers[record.host] = (record, reader)
        return reader
    }
}
