import MigrationProtocol
import Peer
import PeerModel

extension SourceRecords {
    /// Whether the record of `migration` may name another destination. It may if nothing else changes the record any
    /// more, and the present destination needs no more data.
    func mayRedirect(_ migration: MigrationID) throws -> Bool {
        guard let record = try moved() else { return false }
        return record.migration == migration && record.isReleased && record.group == nil
    }

    /// Records durably that the disk of `migration` is to be reached at `successor`.
    /// - Returns: false if it may not be; nothing has changed then.
    /// - Throws: if the record can't be read or written. It may name either node then.
    func redirect(_ migration: MigrationID, to successor: PeerAddress) throws -> Bool {
        // Locked over both, so that the record of a disk that comes back meanwhile is not written again.
        try changing(Self.movedPrefix) { change in
            guard try mayRedirect(migration), var record = try moved() else { return false }
            record.handedTo = record.handedTo ?? record.destination
            record.destination = successor
            try change.write(record)
            return true
        } ?? false
    }
}
