import Block
import MigrationCore
import MigrationProtocol
import Peer

/// Disks of an earlier life of the node.
extension IncomingDiskRegistry {
    /// Takes up the records of earlier lives: serves the disks that are this node's, and holds those that wait for their
    /// sources. A disk that can't be served is reported, and does not keep the others from being served.
    /// - Throws: if a record can't be read.
    public func restore() async throws {
        for prefix in [IncomingRecord.prefix, IncomingRecord.returningPrefix] {
            for (name, record) in try records.state.readAll(IncomingRecord.self, prefix: "\(prefix)-") {
                if let ours = try await claim(record, name, prefix) { await restore(ours) }
            }
        }
        try restoreTargets()
        images.layout.removeLeftovers(except: machine.exports)
    }

    /// The record of a disk if it belongs to this images directory, since a state directory may serve several. It
    /// belongs here if it has the name that it would get here, or if its image stands here now. The latter happens if
    /// the directory was renamed or is mounted elsewhere.
    private func claim(_ record: IncomingRecord, _ name: String, _ prefix: String) async throws -> IncomingRecord? {
        let ourName = records.name(of: record.export, prefix)
        if name == ourName { return record }
        // The operator may have said that another image stands where this one stood.
        guard record.image?.path != nil, let image = try? await activation.find(record), try record.isAbout(image),
            try !records.state.exists(ourName)
        else { return nil }
        var record = record
        record.image = try images.standing(image, record)
        if record.isReturn { record.imagePath = image.path }
        try records.state.write(record, as: ourName)
        removeOutdated(name)
        return record
    }

    private func removeOutdated(_ name: String) {
        if let problem = records.removeOutdated(name) { logger.warning("\(problem)") }
    }

    private func restore(_ record: IncomingRecord) async {
        switch machine.restored(record.arrival) {
        // A disk that came back, of a node that was killed before it had removed the record of its coming.
        case .discard: return removeOutdated(records.name(of: record.export, IncomingRecord.returningPrefix))
        case .wait: hold(record)
        case .serve:
            hold(record)
            do { try await takeOver(record.migration) } catch { reportUnserved(record.migration, record.export, error) }
        }
    }

    /// Tries again to serve the disks that `restore` could not serve.
    /// - Parameter others: Names of disks that somebody else opens.
    /// - Returns: The names of those that are served now.
    public func retryUnserved(except others: Set<String>) async -> [String] {
        var served: [String] = []
        for (migration, disk) in unservedMigrations where !others.contains(disk.export) && !Task.isCancelled {
            // Its source may have had it served meanwhile.
            guard prepared[migration] != nil else {
                unservedMigrations[migration] = nil
                continue
            }
            do {
                try await takeOver(migration)
                unservedMigrations[migration] = nil
                served.append(disk.export)
                logger.notice("\(disk.export) is served: its image can be opened now")
            } catch {
                if disk.reason != error.plainReason { reportUnserved(migration, disk.export, error) }
            }
        }
        return served
    }

    private func reportUnserved(_ migration: MigrationID, _ export: String, _ error: any Error) {
        logger.error("\(export) moved to this node but can't be served: \(error.plainReason)")
        unservedMigrations[migration] = (export, error.plainReason)
    }

    private func hold(_ record: IncomingRecord) {
        prepared[record.migration] = PreparedDisk(record: record)
        if record.blockSize != nil { channels[record.migration] = PostCopyChannels() }
    }
}
