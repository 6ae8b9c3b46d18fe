import Block
import MigrationProtocol

/// A disk that came here and has moved on: those who forward here are told, so that they can do without this node.
extension DestinationSite {
    /// A disk has moved on. Once its new node needs nothing of this one, it is told who forwards here; once it has noted
    /// that, they are told of it.
    /// - Parameter supply: by which the new node gets what it lacks; nil where it lacks nothing.
    public func passOn(_ disk: Disk, over link: ForwardLink, supply: PostCopySourceLink?) {
        guard link.isInUse else { return }
        chains.left(disk, over: link)
        Task {
            await link.waitUntilActive()
            await supply?.waitUntilReleased()
            guard link.isInUse, supply?.isReleased ?? true else { return }
            introduce(disk, over: link)
        }
    }

    /// By which migrations other nodes forward requests for a disk here.
    private func migrations(of disk: Disk) -> [MigrationID] {
        arrivals.compactMap { migration, _ in isActive(migration, as: disk) ? migration : nil }
    }

    private func isActive(_ migration: MigrationID?, as disk: Disk) -> Bool {
        if let migration, case .active(let known)? = arrivals[migration] { known === disk } else { false }
    }

    private func introduce(_ disk: Disk, over link: ForwardLink) {
        guard chains.link(of: disk) === link, link.isInUse else { return }
        let migrations = migrations(of: disk)
        guard !migrations.isEmpty else { return }
        link.introduce(migrations) { [weak self] successor in
            Task { await self?.accepted(disk, by: successor, over: link) }
        }
    }

    private func accepted(_ disk: Disk, by successor: Successor, over link: ForwardLink) {
        guard link.isInUse else { return }
        chains.accepted(disk, by: successor, over: link, migrations(of: disk))
    }

    /// A source of a disk says by which migrations others forward to it. They may forward here, and nobody else's disk is
    /// theirs by that: a migration that is known here already stays what it is.
    /// - Throws: where they can't be noted.
    func introduced(_ others: [MigrationID], by migration: MigrationID) throws {
        guard case .active(let disk)? = arrivals[migration] else {
            throw MigrationError.unexpected("an introduction before the hand-over")
        }
        let new = Set(others).filter { arrivals[$0] == nil }
        guard !new.isEmpty else { return }
        // Where the disk is on its way back here, its record is still that of its earlier life.
        let name = names.first { isActive($0.value, as: disk) || isActive(replaced[$0.value], as: disk) }?.key
        let file = name.map { recordName($0, Self.recordPrefix) }
        guard let file, var record = try state.read(IncomingRecord.self, from: file),
            isActive(record.migration, as: disk)
        else { throw MigrationError.unexpected("an introduction to a disk that is not noted here") }
        let aliases = (record.aliases ?? []) + new
        guard aliases.count <= OfferLimits.maximumAliases else {
            throw MigrationError.refused("\(aliases.count) other nodes would forward here")
        }
        record.aliases = aliases
        try state.write(record, as: file)
        for known in new { arrivals[known] = .active(disk) }
        if let link = chains.link(of: disk) { introduce(disk, over: link) }
    }

    /// The aliases of a disk, with those that have been noted since `record` was read.
    func aliases(of record: IncomingRecord) throws -> [MigrationID]? {
        let noted = try state.read(IncomingRecord.self, from: recordName(record.export, Self.recordPrefix))
        guard let noted, record.known.contains(noted.migration), let more = noted.aliases else { return record.aliases }
        let own = record.aliases ?? []
        return own + more.filter { !own.contains($0) }
    }

    /// Each node that the disk of a migration moves on to, as soon as requests may go there directly.
    func successors(of migration: MigrationID) -> (UInt64, AsyncStream<Successor>) {
        if case .active(let disk)? = arrivals[migration] { return chains.listen(migration, of: disk) }
        return chains.listen(migration, of: nil)
    }

    /// Nobody waits for them any more.
    func endSuccessors(_ listener: UInt64) { chains.ended(listener) }
}
