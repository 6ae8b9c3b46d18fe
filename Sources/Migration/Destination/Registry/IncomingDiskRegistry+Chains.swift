import Block
import MigrationCore
import MigrationProtocol

/// A disk that came here and has moved on: the nodes that forward here are told, so that they can do without this one.
extension IncomingDiskRegistry {
    /// Adds a disk that has moved on. Once the new node needs nothing of this one, it is told which nodes forward here.
    /// Once it has recorded that, those nodes are told of it.
    /// - Parameter supply: the link by which the new node gets missing blocks; nil if it lacks none.
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

    /// The migrations by which other nodes forward requests for a disk here.
    private func migrations(of disk: Disk) -> [MigrationID] {
        disks.number(of: disk).map { machine.migrations(of: $0) } ?? []
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

    /// Lets nodes forward here that forwarded to the source of a disk, once their migrations are recorded.
    /// - Throws: if they can't be recorded.
    func introduced(_ others: [MigrationID], by migration: MigrationID) throws {
        let new = try machine.introduced(others, by: migration)
        guard !new.isEmpty, let disk = machine.served(migration) else { return }
        guard let export = machine.recordedExport(of: disk), var record = try records.read(export),
            machine.served(record.migration) == disk
        else { throw MigrationError.unexpected("an introduction to a disk that is not noted here") }
        let aliases = (record.aliases ?? []) + new
        try Machine.checkAliases(aliases.count)
        record.aliases = aliases
        try records.write(record)
        machine.accepted(new, for: disk)
        if let link = chains.link(of: disks[disk]) { introduce(disks[disk], over: link) }
    }

    /// Each node that the disk of a migration moves on to, as soon as requests may go there directly.
    func successors(of migration: MigrationID) -> (UInt64, AsyncStream<Successor>) {
        chains.listen(migration, of: machine.served(migration).map { disks[$0] })
    }

    /// Removes a listener.
    func endSuccessors(_ listener: UInt64) { chains.ended(listener) }
}
