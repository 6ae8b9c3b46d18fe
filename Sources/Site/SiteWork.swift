import Block
import Foundation
import Index

/// The part of a member that may take long: publishing tables, and making catalogues.
struct SiteWork: Sendable {
    /// Facts that are remembered from turn to turn.
    struct Memory: Sendable {
        var check = PublishedCheck()
        var leftovers = Leftovers()
        /// Nil until it has been read.
        var absences: AbsenceLedger?
        var lastLook: ContinuousClock.Instant?
        var lastSaved: ContinuousClock.Instant?
    }

    /// The time for which a host must have been seen to be gone before it is removed. Its images may come back with it
    /// until then.
    private static let grace = 7.0 * 86_400
    /// The time in a turn for the removal of hosts. Their entries may name any number of pieces.
    private static let removal = Heartbeats.interval
    /// The time between two writings of how long hosts are gone.
    private static let saved = Duration.seconds(600)

    let store: SiteStore
    /// Asked again before anything is deleted.
    let lease: any SiteLease
    let host: String
    /// Path of this node's index.
    let index: String
    /// Path of a directory of this host.
    let scratch: String

    /// - Parameters:
    ///   - heartbeats: Those of the last renewal. A turn may take hours, and other hosts come meanwhile.
    ///   - isWanted: Asked now and then, on any thread, whether to go on.
    func run(
        after tables: SiteTables, _ heartbeats: () -> Heartbeats, _ memory: inout Memory,
        _ isWanted: @escaping @Sendable () -> Bool
    ) -> SiteMember.Turn {
        var turn = SiteMember.Turn()
        do {
            try store.files.checkFolder(SiteStore.folder(of: host))
            let publisher = TablePublisher(index: index, host: host, files: store.files)
            turn.published = try publisher.publish(isWanted)
            turn.mended = try publisher.mend(&memory.check, isWanted)
            let merges = lease.isHeld
            func isGone(_ other: String) -> Bool { other == host || merges && self.isGone(other, heartbeats()) }
            try store.files.removeLeftovers(in: SiteStore.samplesFolder, isOf: isGone, isWanted)
            try makeCatalogues(after: tables, merges: merges, isWanted)
            if lease.isHeld {
                try removeLeftovers(&memory.leftovers)
                turn.removed = try removeHostsThatAreGone(heartbeats(), &memory, isWanted)
            } else {
                // The next host that merges reads the ledger again: another one has written it meanwhile.
                (memory.absences, memory.lastLook) = (nil, nil)
            }
        } catch is CancellationError {
            // The next process goes on.
        } catch {
            turn.problems.append("\(error)")
        }
        return turn
    }

    /// Whether nothing of a host is being written any more. It writes its record before all else.
    private func isGone(_ other: String, _ heartbeats: Heartbeats) -> Bool {
        if let isAlive = heartbeats.isAlive(other) { return !isAlive }
        // The look may have been before its first record, or the record could not be read then.
        do { return try store.record(of: other) == nil } catch { return false }
    }

    private func makeCatalogues(
        after earlier: SiteTables, merges: Bool, _ isWanted: @escaping @Sendable () -> Bool
    ) throws {
        let tables = earlier.refreshed()
        let change = try SampleCatalogues(scratch: scratch, threads: 1).update(
            tables, isMerging: merges, owner: merges ? nil : host, isWanted: isWanted)
        defer { if let file = change.file { unlink(file) } }
        guard change.file != nil || !change.replaced.isEmpty else { return }
        let new = change.file.map { (source: $0, name: URL(fileURLWithPath: $0).lastPathComponent) }
        let step = SiteFolderChange(host: host, file: new, removed: change.replaced, lease: merges ? lease : nil)
        try store.files.change(SiteStore.samplesFolder, step, isWanted)
    }

    /// Removes files that killed processes have left among the samples, where the store does not know whose they are.
    private func removeLeftovers(_ leftovers: inout Leftovers) throws {
        let left = leftovers.look(at: store.files.temporaryFiles(in: SiteStore.samplesFolder), now: .now)
        guard !left.isEmpty else { return }
        let change = SiteFolderChange(host: host, removed: left, lease: lease)
        try store.files.change(SiteStore.samplesFolder, change) { true }
    }

    private func removeHostsThatAreGone(
        _ heartbeats: Heartbeats, _ memory: inout Memory, _ isWanted: () -> Bool
    ) throws -> [String] {
        let now = ContinuousClock.now
        let others = try store.hosts().filter { $0 != host && heartbeats.isAlive($0) != true }
        let gone = Dictionary(uniqueKeysWithValues: others.map { ($0, try? store.record(of: $0)) })
        let old = memory.absences ?? (try? store.read(AbsenceLedger.self, at: SiteStore.absencesRecord))
        var absences = old ?? AbsenceLedger()
        absences.look(gone: gone, after: memory.lastLook.map { (now - $0) / .seconds(1) } ?? 0)
        memory.lastLook = now
        let removed = try remove(absences.gone(for: Self.grace), isWanted)
        if memory.lastSaved.map({ now - $0 >= Self.saved }) ?? true, absences != old {
            try store.write(absences, to: SiteStore.absencesRecord)
            memory.lastSaved = now
        }
        memory.absences = absences
        return removed
    }

    /// - Returns: The hosts of which nothing is left.
    private func remove(_ hosts: [String], _ isWanted: () -> Bool) throws -> [String] {
        var removed: [String] = []
        let end = ContinuousClock.now + Self.removal
        do {
            for host in hosts where lease.isHeld {
                try store.removeFolder(of: host) { isWanted() && .now < end }
                removed.append(host)
            }
        } catch is CancellationError where isWanted() {
            // The next turn goes on.
        }
        return removed
    }
}
