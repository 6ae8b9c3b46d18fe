import MigrationProtocol

/// Decides about the disks that arrive at a node, across all connections. It decides which are taken in and by which
/// connections, what waits for them, and when they are served or given up. `DestinationMachine` judges the messages of
/// one connection.
///
/// The life of an arriving disk:
/// 1. `receiving`: its source has offered it, and one connection, its carrier, brings it.
/// 2. `prepared`: everything is here and recorded. It waits for the source's commit, over restarts too: only the source knows
/// whether it has given the disk away.
/// 3. `activating`: the source has committed. The record of that is made durable, then the disk is served.
/// 4. `active`: clients and forwarders are answered here. If blocks are missing, post-copy brings them.
/// 5. `removing`, from 1 or 2: records and files are removed. The disk is forgotten afterwards. If its record may
/// still be there, the disk returns to what it was, unless its source was never told that it is prepared.
///
/// A driver performs the actions in their order, and tells the machine how they end.
package struct ArrivalMachine<Peer: Hashable & Sendable>: Sendable {
    package enum Action: Equatable, Sendable {
        /// Close a connection. Its end is told by `carrierEnded` or `forwarderEnded`.
        case close(ArrivalConnection)
        /// Something has changed; what waited looks again.
        case wake(ArrivalWait)
        /// Tell what waited for a disk which disk it is; nil if it will never be served, or is not wanted any more.
        case answer(ArrivalWait, ServedDisk?)
        /// Give up what belongs to the attempt, and keep its image. The disk may have had a name.
        case forget(MigrationID, export: String?)
    }

    /// The progress of a disk.
    indirect enum Phase: Equatable, Sendable {
        /// - Parameter keepsImage: the image is one of the node's own, to be brought up to date.
        case receiving(keepsImage: Bool)
        case prepared(ArrivalRecord)
        /// - Parameter isRecorded: the record says, durably, that the disk is active.
        case activating(ArrivalRecord, isRecorded: Bool)
        case active(ServedDisk)
        /// - Parameter isLast: its carrier has ended, so that it is forgotten even if the removal fails.
        case removing(Phase, isLast: Bool)
    }

    var arrivals: [MigrationID: Phase] = [:]
    /// The exports, and the latest migration of each.
    var names: [String: MigrationID] = [:]
    /// The earlier migrations of disks that come back, by which they were known here before.
    var replaced: [MigrationID: MigrationID] = [:]
    /// The arrivals into images that moved away from here, by the migrations by which these did.
    ///
    /// Such an image is in use from `opened` on, and free again only if the attempt is forgotten. Once it has been served, it
    /// moves away by another migration.
    var returns: [MigrationID: MigrationID] = [:]
    /// The connections that bring disks.
    var carriers: [MigrationID: ArrivalConnection] = [:]
    var places = ArrivalPlaces<Peer>()
    /// Arrivals that this node ends, and why, in a line for their sources.
    var dismissals: [MigrationID: String] = [:]
    /// Exports whose clients are answered before the switchover, and their sizes in bytes.
    var announced: [String: UInt64] = [:]
    var forwarders: [MigrationID: ForwarderSlots] = [:]
    /// The waits for disks to be served.
    var diskWaits: [MigrationID: [ArrivalWait]] = [:]
    /// The waits for any change of a disk, its carrier or its forwarder.
    var watches: [MigrationID: [ArrivalWait]] = [:]
    private var nextWait: UInt64 = 0
    var isStopped = false

    package init() {}

    // MARK: Questions

    /// Whether anything is known of a migration.
    package func knows(_ migration: MigrationID) -> Bool { arrivals[migration] != nil }

    /// The migration by which a disk of that name came last, or comes; nil if there is none.
    package func migration(of export: String) -> MigrationID? { names[export] }

    /// The export of a migration; nil if it has none, or a later migration has taken the name over.
    package func export(of migration: MigrationID) -> String? { names.first { $0.value == migration }?.key }

    /// The names that are taken by disks that arrive or have arrived, or are answered for.
    package var takenNames: [String] { Array(names.keys) + announced.keys }

    /// The names of disks that arrive or have arrived.
    package var exports: [String] { Array(names.keys) }

    /// The connection that brings a disk; nil if none does.
    package func carrier(of migration: MigrationID) -> ArrivalConnection? { carriers[migration] }

    /// Whether nothing of a disk is being written or removed: its carrier has ended.
    package func isIdle(_ migration: MigrationID) -> Bool {
        if case .removing? = arrivals[migration] { return false }
        return carriers[migration] == nil
    }

    /// Whether a disk waits for its source's commit.
    package func isPrepared(_ migration: MigrationID) -> Bool {
        if case .prepared(let record)? = arrivals[migration] { !record.isCommitted } else { false }
    }

    /// The disk of a migration if it is served here; otherwise nil.
    package func served(_ migration: MigrationID) -> ServedDisk? {
        if case .active(let disk)? = arrivals[migration] { disk } else { nil }
    }

    /// The migrations by which other nodes forward requests for a disk here.
    package func migrations(of disk: ServedDisk) -> [MigrationID] {
        arrivals.compactMap { migration, phase in phase == .active(disk) ? migration : nil }
    }

    /// Prepared disks that no connection brings: only their sources know whether they have been given away.
    package var waitingForSources: [(export: String, size: UInt64)] {
        names.compactMap { name, migration in
            guard case .prepared(let record)? = arrivals[migration], carriers[migration] == nil, !record.isCommitted
            else { return nil }
            return (name, record.size)
        }
    }

    // MARK: Waiting

    mutating func newWait() -> ArrivalWait {
        nextWait += 1
        return ArrivalWait(number: nextWait)
    }

    /// Begins to wait for any change of a migration; `wake` ends that.
    package mutating func watch(_ migration: MigrationID) -> ArrivalWait {
        let wait = newWait()
        watches[migration, default: []].append(wait)
        return wait
    }

    /// Ends a wait for a change: the waiting work has gone.
    package mutating func endWatch(_ migration: MigrationID, _ wait: ArrivalWait) {
        watches[migration]?.removeAll { $0 == wait }
        if watches[migration]?.isEmpty == true { watches[migration] = nil }
    }

    mutating func changed(_ migration: MigrationID) -> [Action] {
        (watches.removeValue(forKey: migration) ?? []).map { .wake($0) }
    }

    // MARK: The end of an arrival

    /// Forgets an attempt. The image stays for the next one.
    mutating func forget(_ migration: MigrationID) -> [Action] {
        arrivals[migration] = nil
        carriers[migration] = nil
        dismissals[migration] = nil
        if let base = returns.first(where: { $0.value == migration })?.key { returns[base] = nil }
        places.disconnect(migration)
        places.end(migration)
        forwarders[migration]?.forgetTurns()
        removeEmptySlots(of: migration)
        let export = export(of: migration)
        let earlier = replaced.removeValue(forKey: migration)
        if let export { names[export] = earlier }
        let answers = (diskWaits.removeValue(forKey: migration) ?? []).map { Action.answer($0, nil) }
        return [.forget(migration, export: export)] + answers
    }

    /// The connection that brought a disk has ended, and nothing of the attempt is written any more. What has come of an
    /// unprepared disk is kept for the next attempt, or removed; a prepared one stays until its source decides.
    /// - Parameters:
    ///   - connection: ignored if it does not bring the disk any more: another attempt of that name may have begun since.
    ///   - left: the part that has come.
    /// - Returns: what to do, and what to remove then; nothing in most cases.
    package mutating func carrierEnded(
        _ migration: MigrationID, over connection: ArrivalConnection, _ left: LeftCopy
    ) -> (actions: [Action], removal: ArrivalRemoval?) {
        guard carriers[migration] == connection else { return ([], nil) }
        let isDismissed = dismissals.removeValue(forKey: migration) != nil
        places.disconnect(migration)
        let isKept = left.isKept(isAnswered: export(of: migration).map(isAnswered) ?? false)
        guard case .receiving(let keepsImage)? = arrivals[migration], !isKept || isDismissed else {
            if case .receiving? = arrivals[migration] { return (forget(migration) + changed(migration), nil) }
            carriers[migration] = nil
            return (changed(migration), nil)
        }
        arrivals[migration] = .removing(.receiving(keepsImage: keepsImage), isLast: true)
        return ([], ArrivalRemoval(migration: migration, keepsImage: keepsImage, isLast: true))
    }

    /// The source has said that it keeps a disk. A disk that it has given away is not affected.
    /// - Returns: the removal to perform; nil if there is nothing to remove.
    package mutating func abandoned(_ migration: MigrationID) -> ArrivalRemoval? {
        switch arrivals[migration] {
        case .receiving(let keepsImage)?: beginRemoval(of: migration, keepsImage: keepsImage)
        case .prepared(let record)? where !record.isCommitted:
            beginRemoval(of: migration, keepsImage: record.isReturn)
        default: nil
        }
    }

    mutating func beginRemoval(of migration: MigrationID, keepsImage: Bool) -> ArrivalRemoval {
        guard let phase = arrivals[migration] else { preconditionFailure("a disk that is not known") }
        arrivals[migration] = .removing(phase, isLast: false)
        return ArrivalRemoval(migration: migration, keepsImage: keepsImage, isLast: false)
    }

    /// A removal has ended.
    /// - Parameter isDone: false if a later life may find the record again: the source is then to say so again.
    package mutating func removalEnded(_ migration: MigrationID, isDone: Bool) -> [Action] {
        guard case .removing(let phase, let isLast)? = arrivals[migration] else {
            preconditionFailure("a removal that was not begun")
        }
        guard isDone || isLast else {
            arrivals[migration] = phase
            return changed(migration)
        }
        if let export = export(of: migration) { announced[export] = nil }
        return forget(migration) + changed(migration)
    }

    /// Ends all waits for disks: the node ends.
    package mutating func stop() -> [Action] {
        isStopped = true
        let waits = diskWaits.values.joined().sorted { $0.number < $1.number }
        diskWaits = [:]
        return waits.map { .answer($0, nil) }
    }
}
