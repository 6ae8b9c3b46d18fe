import Block
import Foundation
import Glibc
import Logging
import Peer

/// What a node has of disks that arrive, or have arrived: their images, their records, and who waits for them.
public actor DestinationSite {
    /// What the site asks of its node.
    public struct Hooks: Sendable {
        let isNameTaken: @Sendable (String) -> Bool
        let activate: @Sendable (_ export: String, _ image: RawImage) async throws -> Disk

        /// - Parameters:
        ///   - isNameTaken: whether the node serves an export of that name already.
        ///   - activate: serves an image under a name from now on, and returns the disk behind it.
        public init(
            isNameTaken: @escaping @Sendable (String) -> Bool,
            activate: @escaping @Sendable (_ export: String, _ image: RawImage) async throws -> Disk
        ) {
            self.isNameTaken = isNameTaken
            self.activate = activate
        }
    }

    private enum Arrival {
        case receiving(RawImage)
        /// The image is nil after a restart.
        case prepared(IncomingRecord, RawImage?)
        case activating(Task<Disk, any Error>)
        case active(Disk)
    }

    private struct Forwarder {
        let connection: PeerConnection
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// Disks that may be arriving at once: each takes memory for a 128 MiB window.
    private static let maximumReceiving = 16

    private let images: String
    private let state: StateDirectory
    private let hooks: Hooks
    private let logger: Logger
    private var arrivals: [MigrationID: Arrival] = [:]
    private var names: [String: MigrationID] = [:]
    private var forwarders: [MigrationID: Forwarder] = [:]
    private var waiters: [MigrationID: [CheckedContinuation<Disk?, Never>]] = [:]
    private var isStopped = false

    /// Scratch files go here.
    nonisolated var scratch: String { state.scratch }

    /// - Parameters:
    ///   - images: where disks go; made where there is none.
    ///   - state: what survives a restart.
    /// - Throws: `FileError`.
    public init(images: String, state: StateDirectory, logger: Logger, hooks: Hooks) throws {
        try? FileManager.default.createDirectory(atPath: images, withIntermediateDirectories: true)
        guard access(images, W_OK) == 0 else { throw FileError("write into the images directory", images) }
        self.images = StateDirectory.realPath(images)
        self.state = state
        self.hooks = hooks
        self.logger = logger
    }

    /// Takes up what an earlier life of this node has left: serves the disks that are its own, remembers those that
    /// wait for their source's word, and removes what came to nothing. A disk that can't be served is reported, and does
    /// not keep the others from being served.
    /// - Throws: where a record can't be read.
    public func restore() async throws {
        // A state directory may serve several images directories: a record of ours has the name that we would give it.
        for (name, record) in try state.readAll(IncomingRecord.self, prefix: "incoming-")
        where name == recordName(record.export) {
            names[record.export] = record.migration
            arrivals[record.migration] = .prepared(record, nil)
            guard record.phase == .active else { continue }
            do {
                try await takeOver(record.migration)
            } catch {
                logger.error("\(record.export) moved to this node but can't be served: \(error)")
            }
        }
        removeLeftovers()
    }

    /// Answers everybody who waits; the node ends.
    public func stop() {
        isStopped = true
        for waiter in waiters.values.joined() { waiter.resume(returning: nil) }
        waiters = [:]
    }

    /// Makes the image of an incoming disk.
    /// - Throws: `MigrationError.refused` where the name is taken; `FileError`.
    func open(_ offer: Offer) throws -> RawImage {
        guard arrivals[offer.migration] == nil else {
            throw MigrationError.refused("this migration is known already")
        }
        if let other = names[offer.export] { try release(other, offer) }
        guard !hooks.isNameTaken(offer.export) else {
            throw MigrationError.refused(
                "it has an export '\(offer.export)' already; give the export another name at the source")
        }
        let final = path(of: offer.export)
        guard access(final, F_OK) != 0 else {
            throw MigrationError.refused(
                "\(final) exists already; move it away, or give the export another name at the source")
        }
        guard
            arrivals.values.count(where: { if case .receiving = $0 { true } else { false } })
                < Self.maximumReceiving
        else {
            throw MigrationError.refused(
                "\(Self.maximumReceiving) disks are arriving already; try again later")
        }
        // Left by a migration that died with its node; without a record it stands for nothing.
        unlink(partialPath(of: offer.export))
        let image = try RawImage.create(path: partialPath(of: offer.export), size: offer.size)
        names[offer.export] = offer.migration
        arrivals[offer.migration] = .receiving(image)
        return image
    }

    /// Notes, durably, that a disk is here whole; its image must be durable already.
    func prepare(_ record: IncomingRecord) throws {
        guard case .receiving(let image)? = arrivals[record.migration] else {
            throw MigrationError.unexpected("a disk that is not arriving")
        }
        try StateDirectory.synchronizeDirectory(images)
        try state.write(record, as: recordName(record.export))
        arrivals[record.migration] = .prepared(record, image)
    }

    /// The source has given its word: the disk is served here from now on. May be called again.
    /// - Throws: where there is no such disk, or its image is gone.
    @discardableResult
    func takeOver(_ migration: MigrationID) async throws -> Disk {
        switch arrivals[migration] {
        case .active(let disk)?:
            return disk
        case .activating(let task)?:
            return try await task.value
        case .prepared(let record, let image)?:
            let task = Task { try await serve(record, image) }
            arrivals[migration] = .activating(task)
            do {
                let disk = try await task.value
                arrivals[migration] = .active(disk)
                for waiter in waiters.removeValue(forKey: migration) ?? [] { waiter.resume(returning: disk) }
                return disk
            } catch {
                arrivals[migration] = .prepared(record, image)
                throw error
            }
        case .receiving?, nil:
            throw MigrationError.refused("no disk of that migration waits here")
        }
    }

    /// Whether anything is known of a migration.
    func knows(_ migration: MigrationID) -> Bool {
        arrivals[migration] != nil
    }

    /// The disk, once it is served here; nil where it will never be.
    func disk(of migration: MigrationID) async -> Disk? {
        switch arrivals[migration] {
        case .active(let disk)?: return disk
        case nil: return nil
        case .receiving?, .prepared?, .activating?:
            if isStopped { return nil }
            return await withCheckedContinuation { waiters[migration, default: []].append($0) }
        }
    }

    /// Drops a disk that is still arriving; one that is prepared stays until its source says what is to become of it.
    func abandonUnprepared(_ migration: MigrationID) {
        if case .receiving? = arrivals[migration] { drop(migration) }
    }

    /// Drops a disk whose source has said that it keeps it.
    func abandon(_ migration: MigrationID) {
        switch arrivals[migration] {
        case .receiving?, .prepared?: drop(migration)
        case .activating?, .active?, nil: break
        }
    }

    /// Ends the link that brought requests for a disk so far, and returns once nothing of it is in flight: a late
    /// request of the old link must not land after a newer one of the new link (invariant 9).
    func replaceForwarder(of migration: MigrationID, with connection: PeerConnection) async {
        while let old = forwarders[migration] {
            old.connection.close()
            await withCheckedContinuation { forwarders[migration]!.waiters.append($0) }
        }
        forwarders[migration] = Forwarder(connection: connection)
    }

    /// Nothing of the current link is in flight any more.
    func forwarderEnded(of migration: MigrationID) {
        for waiter in forwarders.removeValue(forKey: migration)?.waiters ?? [] { waiter.resume() }
    }

    /// Makes room for an offer where the disk of that name is one that its source has given up.
    private func release(_ other: MigrationID, _ offer: Offer) throws {
        let isGivenUp = offer.abandoned.contains(other)
        switch arrivals[other] {
        case .prepared? where isGivenUp, .receiving? where isGivenUp:
            drop(other)
        case .prepared?:
            throw MigrationError.refused(
                "\(offer.export) has arrived there by another migration and waits for its source; "
                    + "migrate again from that source")
        case .receiving?:
            throw MigrationError.refused(
                "\(offer.export) is arriving there already; wait for it or cancel it")
        case .activating?, .active?, nil:
            throw MigrationError.refused(
                "\(offer.export) is served there already; give the export another name")
        }
    }

    private func drop(_ migration: MigrationID) {
        arrivals[migration] = nil
        for (name, owner) in names where owner == migration {
            names[name] = nil
            state.remove(recordName(name))
            unlink(partialPath(of: name))
        }
        for waiter in waiters.removeValue(forKey: migration) ?? [] { waiter.resume(returning: nil) }
    }

    private func serve(_ record: IncomingRecord, _ received: RawImage?) async throws -> Disk {
        let final = path(of: record.export)
        let partial = partialPath(of: record.export)
        // A crash may have come between the renaming and the record of it.
        let isInPlace = access(partial, F_OK) != 0
        let image = try received ?? RawImage(path: isInPlace ? final : partial, access: .readWrite)
        guard image.size == record.size else {
            throw MigrationError.unexpected("\(image.path) is not the \(record.size) bytes long that arrived")
        }
        if !isInPlace {
            try image.rename(to: final)
            try StateDirectory.synchronizeDirectory(images)
        }
        var record = record
        record.phase = .active
        try state.write(record, as: recordName(record.export))
        return try await hooks.activate(record.export, image)
    }

    private func removeLeftovers() {
        for file in (try? FileManager.default.contentsOfDirectory(atPath: images)) ?? []
        where file.hasSuffix(Self.partialSuffix)
            && names[String(file.dropLast(Self.partialSuffix.count))] == nil
        {
            unlink("\(images)/\(file)")
        }
    }

    private static let partialSuffix = ".raw.incoming"
    private func path(of export: String) -> String { "\(images)/\(export).raw" }
    private func partialPath(of export: String) -> String { "\(images)/\(export)\(Self.partialSuffix)" }
    private func recordName(_ export: String) -> String {
        StateDirectory.key("incoming", path: path(of: export))
    }
}
