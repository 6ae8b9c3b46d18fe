import MigrationProtocol
import Peer

/// The outcome of a switchover that an earlier life of the node may have left in doubt.
extension SourceRecords {
    /// Makes the present outcome of an interrupted migration durable. The last writes and removals of the earlier
    /// process may not have reached the disk. Only for the node that holds the state directory's lock, while no
    /// migration of the image is under way. Call it before anybody is served, or is told that the disk has moved.
    /// - Throws: if a later life may find otherwise.
    public func resolveOutcome() throws {
        guard let attempt = try attempts().attempts.last else { return }
        try directory.changing(try place(Self.movedPrefix)) { change in
            guard let record = try moved() else {
                // The common record may have been removed by a life that ended before that was durable, and other disks wait for it.
                if let group = try change.read(MovedRecord.self)?.group {
                    // Not holding the group: it would give away what is left of the group, if the machine went down now.
                    try directory.remove(Self.commonRecord(of: group), holding: ["group": MigrationID()])
                }
                // The commit record of a group is never written after this.
                var void = try MovedRecord(
                    export: "", image: image, migration: attempt.migration, destination: attempt.destination, root: "")
                void.group = MigrationID()
                return try change.remove(holding: void)
            }
            if let group = record.group { try directory.confirm(Self.commonRecord(of: group)) }
            try change.confirm()
        }
    }
}
