import Block
import Foundation
import Glibc
import Peer

/// What a node has of disks that arrive, or have arrived: their images, their records, and who waits for them.
public actor DestinationSite {
    /// Serves an image under a name, and returns the disk behind it.
    public typealias Activate = @Sendable (_ export: String, _ image: RawImage) async throws -> Disk

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

    private let images: String
    private let state: StateDirectory
    private let activate: Activate
    private var arrivals: [MigrationID: Arrival] = [:]
    private var names: [String: MigrationID] = [:]
    private var forwarders: [MigrationID: Forwarder] = [:]
    private var waiters: [MigrationID: [CheckedContinuation<Disk?, Never>]] = [:]

    /// Scratch files go here.
    nonisolated var scratch: String { state.scratch }

    /// - Parameters:
    ///   - images: where disks go; made where there is none.
    ///   - state: what survives a restart.
    ///   - activate: called when a disk has become this node's.
    /// - Throws: `FileError`.
    public init(images: String, state: StateDirectory, activate: @escaping Activate) throws {
        try? FileManager.default.createDirectory(atPath: images, withIntermediateDirectories: true)
        guard access(images, W_OK) == 0 else { throw FileError("write into the images directory", images) }
        self.images = images
        self.state = state
        self.activate = activate
    }

    /// Takes up what an earlier life of this node has left: serves the disks that are its own, and remembers those that
    /// wait for their source's word.
    /// - Throws: where a record can't be read, or a disk of this node is gone.
    public func restore() async throws {
        for record in try state.readAll(IncomingRecord.self, prefix: "incoming-") {
            names[record.export] = record.migration
            arrivals[record.migration] = .prepared(record, nil)
            if record.phase == .active { _ = try await takeOver(record.migration) }
        }
    }

    /// Makes the image of an incoming disk.
    /// - Throws: `MigrationError.refused` where the name is taken; `FileError`.
    func open(_ offer: Offer) throws -> RawImage {
        if let other = names[offer.export] { try release(other, offer) }
        let final = path(of: offer.export)
        guard access(final, F_OK) != 0 else {
            throw MigrationError.refused(
                "\(final) exists already; move it away, or give the export another name at the source")
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

    /// Makes room for an offer where the disk of that name is one that its source has given up.
    private func release(_ other: MigrationID, _ offer: Offer) throws {
        switch arrivals[other] {
        case .prepared? where offer.abandoned == other:
            drop(other)
        case .prepared?:
            throw MigrationError.refused(
                "\(offer.export) has arrived here by another migration and waits for its source; "
                    + "migrate again from that source, or remove the record of \(other) from the state directory")
        case .receiving?:
            throw MigrationError.refused("\(offer.export) is arriving here already; wait for it or cancel it")
        case .activating?, .active?, nil:
            throw MigrationError.refused("\(offer.export) is served here already; give the export another name")
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

    func forwarderEnded(of migration: MigrationID) {
        for waiter in forwarders.removeValue(forKey: migration)?.waiters ?? [] { waiter.resume() }
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
        if !isInPlace {
            try image.rename(to: final)
            try StateDirectory.synchronizeDirectory(images)
        }
        var record = record
        record.phase = .active
        try state.write(record, as: recordName(record.export))
        return try await activate(record.export, image)
    }

    private func path(of export: String) -> String { "\(images)/\(export).raw" }
    private func partialPath(of export: String) -> String { "\(images)/\(export).raw.incoming" }
    private func recordName(_ export: String) -> String { StateDirectory.key("incoming", image: path(of: export)) }
}
