import NIOConcurrencyHelpers
import Rados
import StorageDaemon

/// The right of this process to serve a disk of the site. Any thread may use it. Calls block the thread.
///
/// 1. `init` writes this host into the record, and fences the clients of an earlier process that was killed. It says "served" only
///    if the record has said so, and the node's own records say nothing else.
/// 2. `admit` notes the client that has opened the image since, before it gets any request. So whoever takes the disk over
///    either fences that client, or is found here.
/// 3. `ended` notes that the client is gone.
///
/// A write that fails may be in the store all the same, now or later. So the record is read again after it, and counts as this
/// process's if it says so.
package final class DiskClaim: StorageAdmission {
    /// Clients of helpers that have ended before they are fenced, so that the record stays short.
    static let mostClients = 4
    /// Writes of this process that may come late and make another one fail.
    private static let mostAttempts = 4

    private let image: String
    private let owner: DiskOwner
    private let records: any DiskRecords
    private let users: any DiskUsers
    /// Held during each write, so that they come one after the other.
    private let lock = NIOLock()
    /// The record as this process has last seen it; under the lock.
    nonisolated(unsafe) private var record: DiskRecord
    /// Whether the store has this record for certain; under the lock.
    nonisolated(unsafe) private var isCertain = true
    /// The client of the latest helper that was admitted; under the lock.
    nonisolated(unsafe) private var latest: Set<String> = []
    /// Whether the owner's list has the image for this claim.
    private let isListed = NIOLockedValueBox(true)
    private let begun = NIOLockedValueBox<UInt64>(0)

    /// - Parameters:
    ///   - own: The records of the node's state directory about the image.
    ///   - isArriving: Whether blocks are missing.
    /// - Throws: `DiskError` if another host serves the disk, or somebody uses it of whom the site knows nothing. Also if `own`
    ///   contradicts the site. `SiteError`, `RadosError`, errors of `own`.
    package convenience init(
        _ place: RBDPlace, as export: String, of owner: DiskOwner, in register: DiskRegister,
        own: any OwnDiskRecords, isArriving: Bool
    ) throws {
        try self.init(
            place.description, as: export, of: owner, in: register, users: RBDImage(place), own: own,
            isArriving: isArriving)
    }

    init(
        _ image: String, as export: String, of owner: DiskOwner, in records: any DiskRecords, users: any DiskUsers,
        own: any OwnDiskRecords, isArriving: Bool
    ) throws {
        guard owner.images.withLockedValue({ $0.insert(image).inserted }) else { throw DiskError.isServedHere(image) }
        do {
            // First who uses it: a client that comes later than the record finds there that it may not.
            let use = try users.use()
            let copy = try Self.copy(in: own)
            let old = try records.record(of: image)
            if old?.identity != use.identity, let other = try records.record(ofRenamed: image, identity: use.identity) {
                throw DiskError.isRenamed(image, record: other)
            }
            let opening = try DiskOpening(
                image, as: export, of: owner, use, after: old, copy: copy, isArriving: isArriving)
            if opening.mustWatch { try records.checkIsGone(owner.host, except: owner.instance) }
            // Before the record is this state directory's: the next start can't tell any more.
            if opening.isHandedOver { try own.dropRequests() }
            guard let written = try records.write(opening.next, after: old) else { throw DiskError.lost(image: image) }
            record = try records.fence(written, of: users)
            // A takeover, or a node of the same name, has come in between, and decides from now on.
            guard record.instance == owner.instance, record.home == owner.home else {
                throw DiskError.lost(image: image)
            }
        } catch {
            owner.images.withLockedValue { _ = $0.remove(image) }
            throw error
        }
        (self.image, self.owner, self.records, self.users) = (image, owner, records, users)
    }

    deinit { unlist() }

    private static func copy(in own: any OwnDiskRecords) throws -> DiskOpening.Copy {
        if let file = try own.departure() { return .departed(file) }
        return try own.gap().map { .partial($0) } ?? .sound
    }

    /// Whether blocks of the disk are missing, and whether it moves away.
    package var state: DiskRecord.State { lock.withLock { record.state } }

    package func admit() throws {
        let use = try users.use()
        let clients = Set(use.clients)
        try lock.withLock {
            try lookAgain()
            guard use.identity == record.identity else { throw DiskError.otherImage(image) }
            let new = clients.subtracting(record.clients).subtracting(record.fenced ?? [])
            guard !new.isEmpty else {
                // A takeover may have fenced it already.
                isCertain = false
                try lookAgain()
                throw DiskError.noClient(image)
            }
            var ended: [String] = []
            if record.clients.count >= Self.mostClients {
                // Helpers that have ended: there is one at a time.
                ended = record.clients
                try users.fence(ended)
            }
            try change { record in
                record.clients = Set(record.clients).subtracting(ended).union(new).sorted()
                if !ended.isEmpty { record.fenced = ended }
            }
            latest = new
        }
    }

    /// A takeover is final, and so is another image in the place of this one; whatever else the store says may pass.
    package func isFinal(_ error: any Error) -> Bool {
        switch error {
        case DiskError.lost, DiskError.otherImage: true
        default: false
        }
    }

    /// Number of the moves away that were begun.
    package var departures: UInt64 { begun.withLockedValue { $0 } }

    /// Says that the disk is about to move away: no `markServed` that was decided on earlier has an effect from now on. Returns
    /// at once.
    package func beginDeparture() { begun.withLockedValue { $0 += 1 } }

    /// Sees that no host takes the disk over: the copy here will be an old one.
    /// - Throws: `DiskError.lost`; errors of the store, after which it may be so or not.
    package func markLeaving() throws {
        try lock.withLock {
            try lookAgain()
            try change { $0.state = .leaving }
        }
    }

    /// Lets another host take the disk over once this one is gone.
    /// - Parameter departures: The number when it was known that all of the disk is here.
    /// - Throws: As `markLeaving`.
    package func markServed(asOf departures: UInt64) throws {
        try lock.withLock {
            guard self.departures == departures else { return }
            // A write that may come late fails after another one.
            let mustWrite = !isCertain
            try lookAgain()
            guard mustWrite || record.state != .served else { return }
            try change { $0.state = .served }
        }
    }

    package func ended(isClean: Bool) {
        if isClean {
            lock.withLock {
                // Without this, the next start fences a client that is gone. An earlier one may have been killed.
                try? lookAgain()
                if isCertain, !latest.isDisjoint(with: record.clients) {
                    try? change { [latest] in $0.clients.removeAll(where: latest.contains) }
                }
            }
        }
        unlist()
    }

    /// Lets this process claim the image again.
    private func unlist() {
        let wasListed = isListed.withLockedValue { isListed in
            defer { isListed = false }
            return isListed
        }
        if wasListed { owner.images.withLockedValue { _ = $0.remove(image) } }
    }

    // MARK: Under the lock

    /// Reads the record after a write of which the outcome is not known.
    private func lookAgain() throws {
        guard !isCertain else { return }
        guard let current = try records.record(of: image), isOwn(current) else { throw DiskError.lost(image: image) }
        (record, isCertain) = (current, true)
    }

    private func isOwn(_ other: DiskRecord) -> Bool {
        other.host == owner.host && other.instance == owner.instance && other.identity == record.identity
    }

    private func change(_ body: (inout DiskRecord) -> Void) throws {
        for _ in 0..<Self.mostAttempts {
            var next = record
            body(&next)
            isCertain = false
            if let written = try records.write(next, after: record) {
                (record, isCertain) = (written, true)
                return
            }
            // Another host's record, or a late write of this process.
            try lookAgain()
        }
        throw DiskError.isBusy(image)
    }
}
