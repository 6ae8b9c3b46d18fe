import MigrationProtocol

/// Disks that came here, whose life as such the operator of this node ends.
extension ArrivalMachine {
    /// Whether another node is connected at the moment to forward requests for a served disk here.
    package func isForwardedTo(_ migration: MigrationID) -> Bool {
        guard let disk = served(migration) else { return false }
        return migrations(of: disk).contains { forwarders[$0]?.isConnected == true }
    }

    /// Forgets a served disk, and all migrations by which other nodes know it. They can't forward here any more.
    package mutating func retire(_ migration: MigrationID) -> [Action] {
        guard let disk = served(migration) else { preconditionFailure("only a disk that is served here is retired") }
        let known = migrations(of: disk)
        // Otherwise the name would go back to an earlier life of the disk.
        for other in known { replaced[other] = nil }
        return known.flatMap { forget($0) + changed($0) }
    }

    /// Something has changed about a disk that the machine does not decide about.
    package mutating func hasChanged(_ migration: MigrationID) -> [Action] { changed(migration) }
}
