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
            do {
                try await takeOver(record.migration)
            } catch {
                logger.error("\(record.export) moved to this node but can't be served: \(error.plainReason)")
                unserved[record.export] = error.plainReason
            }
        }
    }

    /// Tries again to serve the disks that `restore` could not serve.
    /// - Returns: The names of those that are served now.
    public func retryUnserved() async -> [String] {
        var served: [String] = []
        for name in unserved.keys.sorted() {
            // Its source may have had it served meanwhile.
            guard let known = prepared.values.first(where: { $0.record.export == name }) else {
                unserved[name] = nil
                continue
            }
            do {
                try await takeOver(known.record.migration)
                unserved[name] = nil
                served.append(name)
                logger.notice("\(name) is served: its image can be opened now")
            } catch {
                guard unserved[name] != error.plainReason else { continue }
                unserved[name] = error.plainReason
                logger.error("\(name) moved to this node but can't be served: \(error.plainReason)")
            }
        }
        return served
    }

    private func hold(_ record: IncomingRecord) {
        prepared[record.migration] = PreparedDisk(record: record)
        if record.blockSize != nil { channels[record.migration] = PostCopyChannels() }
    }
}
