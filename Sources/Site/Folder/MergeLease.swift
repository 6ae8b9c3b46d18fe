import Block
import Foundation

/// The lease of the host that merges, as a file of a shared folder.
///
/// Two holders at once cost work and space, and nothing else: catalogues only ever replace those that they cover. So the
/// lease needs neither locks nor clocks that agree.
struct MergeLease: Sendable {
    /// The contents of the lease's file.
    struct Holder: Codable, Sendable, Equatable {
        var host: String
        /// Random number of one holding: a holder that finds another one has lost the lease.
        var token: UInt64
        /// Grows with each renewal.
        var beat: UInt64
    }

    /// The lease as it was last seen, and since when it has stood like that.
    private var seen: (holder: Holder, since: ContinuousClock.Instant)?
    private let host: String
    private let token = UInt64.random(in: 1 ... .max)

    init(host: String) {
        self.host = host
    }

    /// Renews the lease, or takes it where nobody has it or its holder is gone.
    /// - Returns: Whether this host has it now.
    /// - Throws: `FileError`, `SiteError` if the store fails.
    mutating func hold(in store: FolderFiles, now: ContinuousClock.Instant) throws -> Bool {
        guard let holder = try current(store) else {
            seen = nil
            return try take(store)
        }
        if holder.token == token {
            var next = holder
            next.beat &+= 1
            try write(next, store.leasePath, store)
            return true
        }
        guard let seen, seen.holder == holder else {
            seen = (holder, now)
            return false
        }
        guard now - seen.since >= Heartbeats.limit else { return false }
        return try depose(holder, store) && take(store)
    }

    /// Whether this host still has the lease; asked before anything is deleted.
    func isHeld(in store: FolderFiles) -> Bool { (try? current(store))?.token == token }

    /// Lets another host have the lease at once.
    func release(in store: FolderFiles) {
        if isHeld(in: store) { unlink(store.leasePath) }
    }

    /// A damaged lease is nobody's.
    private func current(_ store: FolderFiles) throws -> Holder? {
        do { return try read(store.leasePath, store) } catch SiteError.damaged(let file) {
            unlink(file)
            return nil
        }
    }

    private func read(_ path: String, _ store: FolderFiles) throws -> Holder? {
        guard let data = try store.read(at: path, atMost: 4096) else { return nil }
        guard let holder = try? JSONDecoder().decode(Holder.self, from: data) else {
            throw SiteError.damaged(file: path)
        }
        return holder
    }

    private func write(_ holder: Holder, _ path: String, _ store: FolderFiles) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        try store.write(encoder.encode(holder), at: path)
    }

    /// Creates the file under its name in one step, which `link(2)` does on NFS too.
    private func take(_ store: FolderFiles) throws -> Bool {
        let mine = "\(store.leasePath).\(token)"
        try write(Holder(host: host, token: token, beat: 0), mine, store)
        defer { unlink(mine) }
        guard link(mine, store.leasePath) == 0 else {
            guard errno == EEXIST else { throw FileError("link", store.leasePath) }
            return false
        }
        return true
    }

    /// Moves a lease away whose holder is gone; puts it back if another host was faster.
    private func depose(_ holder: Holder, _ store: FolderFiles) throws -> Bool {
        let aside = "\(store.leasePath).\(token).old"
        guard rename(store.leasePath, aside) == 0 else {
            guard errno == ENOENT else { throw FileError("rename", store.leasePath) }
            return true
        }
        defer { unlink(aside) }
        guard try read(aside, store) == holder else {
            _ = link(aside, store.leasePath)
            return false
        }
        return true
    }
}
