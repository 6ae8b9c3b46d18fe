import Block
import Foundation
import Index

/// The part of a member that may take long: publishing tables, and making catalogues.
struct SiteWork: Sendable {
    /// The time after which a host that is gone is removed. Its images may come back with it until then.
    private static let grace = Duration.seconds(7 * 86_400)

    let store: SiteStore
    let host: String
    /// Path of this node's index.
    let index: String
    /// Path of a directory of this host.
    let scratch: String

    /// - Parameters:
    ///   - isMerger: Whether this host merges for the site; asked again before anything is deleted.
    ///   - isWanted: Asked now and then, on any thread, whether to go on.
    func run(
        after latest: (tables: SiteTables, heartbeats: Heartbeats), isMerger: () -> Bool,
        _ isWanted: @escaping @Sendable () -> Bool
    ) -> SiteMember.Turn {
        var turn = SiteMember.Turn()
        do {
            try store.checkIsFolder(store.folder(of: host))
            turn.published = try TablePublisher(index: index, folder: store.folder(of: host)).publish(isWanted)
            try makeCatalogues(after: latest.tables, merges: isMerger(), isMerger, isWanted)
            if isMerger() { turn.removed = try removeHostsThatAreGone(latest.heartbeats) }
        } catch is CancellationError {
            // The next process goes on.
        } catch {
            turn.problems.append("\(error)")
        }
        return turn
    }

    private func makeCatalogues(
        after earlier: SiteTables, merges: Bool, _ isMerger: () -> Bool, _ isWanted: @escaping @Sendable () -> Bool
    ) throws {
        let tables = earlier.refreshed()
        let change = try SampleCatalogues(scratch: scratch, threads: 1).update(
            tables, isMerging: merges, owner: merges ? nil : host, isWanted: isWanted)
        if let file = change.file {
            defer { unlink(file) }
            try SparseCopy.replace(
                "\(store.samplesPath)/\(URL(fileURLWithPath: file).lastPathComponent)", with: file, isWanted)
        }
        guard merges, isMerger() else { return }
        for name in change.replaced { unlink("\(store.samplesPath)/\(name)") }
    }

    /// Removes hosts by the age of their records against this host's: the store's clock wrote both.
    private func removeHostsThatAreGone(_ heartbeats: Heartbeats) throws -> [String] {
        guard let own = store.lastWritten(by: host) else { return [] }
        let gone = try store.hosts().filter { other in
            guard other != host, !heartbeats.isAlive(other, now: .now), let seen = store.lastWritten(by: other) else {
                return false
            }
            return own.timeIntervalSince(seen) > TimeInterval(Self.grace.components.seconds)
        }
        for host in gone { try store.removeFolder(of: host) }
        return gone
    }
}
