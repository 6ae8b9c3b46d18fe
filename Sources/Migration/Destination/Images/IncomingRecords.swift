import Block
import MigrationProtocol

/// The records of the disks of one images directory.
struct IncomingRecords: Sendable {
    let state: StateDirectory
    private let layout: ImageLayout

    init(state: StateDirectory, layout: ImageLayout) {
        self.state = state
        self.layout = layout
    }

    /// The file of a disk's record, for people.
    func path(of export: String) -> String { state.path(of: name(of: export, IncomingRecord.prefix)) }

    func name(of export: String, _ prefix: String) -> String { layout.recordName(export, prefix) }

    /// The record of a disk that is here; nil if there is none.
    func read(_ export: String) throws -> IncomingRecord? {
        try state.read(IncomingRecord.self, from: name(of: export, IncomingRecord.prefix))
    }

    /// Another disk that is here in a place that a command has made; nil if there is none.
    func owner(ofPlace place: String, except export: String) throws -> String? {
        for prefix in [IncomingRecord.prefix, IncomingRecord.returningPrefix] {
            let found = try state.readAll(IncomingRecord.self, prefix: "\(prefix)-")
                .first { $0.1.export != export && ($0.1.place == place || $0.1.imagePath == place) }
            if let found { return found.1.export }
        }
        return nil
    }

    func write(_ record: IncomingRecord) throws {
        try state.write(record, as: name(of: record.export, IncomingRecord.prefix))
    }

    /// Records, durably, a disk that is prepared. A disk that comes back keeps the record of its earlier life until it is
    /// here.
    func write(prepared record: IncomingRecord) throws {
        let prefix = record.isReturning ? IncomingRecord.returningPrefix : IncomingRecord.prefix
        try state.write(record, as: name(of: record.export, prefix))
    }

    /// Records durably that a disk is served here. It writes even if an earlier process may have done so, since that
    /// record may not have reached the disk.
    func write(active record: IncomingRecord) throws {
        var record = record
        record.phase = .active
        record.aliases = try aliases(of: record)
        try write(record)
        if record.imagePath != nil { try state.remove(name(of: record.export, IncomingRecord.returningPrefix)) }
    }

    /// The aliases of a disk, with those that have been recorded since `record` was read.
    private func aliases(of record: IncomingRecord) throws -> [MigrationID]? {
        guard let recorded = try read(record.export), record.known.contains(recorded.migration),
            let more = recorded.aliases
        else { return record.aliases }
        let own = record.aliases ?? []
        return own + more.filter { !own.contains($0) }
    }

    /// Removes the records of a migration, and finishes a removal that has failed before. A disk that comes back has a record
    /// of its earlier life, which stays.
    /// - Throws: if a later life may find a record.
    func remove(_ migration: MigrationID, of export: String) throws {
        for prefix in [IncomingRecord.prefix, IncomingRecord.returningPrefix] {
            let file = name(of: export, prefix)
            try state.finishRemovals(prefix) { name, _ in name == file }
            if try state.read(IncomingRecord.self, from: file)?.migration == migration { try state.remove(file) }
        }
    }

    /// Removes a record that another one has taken the place of. If that fails it is harmless: the next start removes it.
    /// - Returns: a warning for people; nil if it is removed.
    func removeOutdated(_ name: String) -> String? {
        do {
            try state.remove(name)
            return nil
        } catch {
            return "\(state.path(of: name)) stays, and is not needed any more: \(error)"
        }
    }
}
