import MigrationProtocol

@testable import MigrationCore

/// A node's `ArrivalMachine`, with short names for what sources and operators do.
struct ArrivalWorld {
    static let size: UInt64 = 8192

    var machine = ArrivalMachine<String>()
    private var nextConnection: UInt64 = 0

    static func offer(
        _ migration: MigrationID, _ export: String = "disk", abandoned: [MigrationID] = [], size: UInt64 = size
    ) -> ArrivalOffer {
        ArrivalOffer(
            Offer(migration: migration, abandoned: abandoned, export: export, size: size, blockSize: 4096))
    }

    static func record(
        _ migration: MigrationID, _ export: String = "disk", isCommitted: Bool = false, isReturn: Bool = false,
        known: [MigrationID] = []
    ) -> ArrivalRecord {
        ArrivalRecord(
            migration: migration, export: export, size: size, isCommitted: isCommitted, isReturn: isReturn,
            known: [migration] + known)
    }

    mutating func connect() -> ArrivalConnection {
        nextConnection += 1
        return ArrivalConnection(number: nextConnection)
    }

    /// A disk is taken in.
    mutating func receive(
        _ export: String = "disk", from peer: String = "peer", keepsImage: Bool = false
    ) throws -> (migration: MigrationID, carrier: ArrivalConnection) {
        let migration = MigrationID()
        let offer = Self.offer(migration, export)
        guard try machine.offered(offer, hasBase: keepsImage) == .take else {
            throw MigrationError.refused("not to be taken")
        }
        let carrier = connect()
        machine.opened(offer, keepsImage: keepsImage, from: peer, over: carrier)
        return (migration, carrier)
    }

    /// A disk is taken in and prepared; its carrier has ended unless it `stays`.
    mutating func prepare(_ export: String = "disk", stays: Bool = false) throws -> MigrationID {
        let (migration, _) = try receive(export)
        _ = machine.prepared(Self.record(migration, export))
        if !stays { _ = machine.carrierEnded(migration, keepsPartial: false) }
        return migration
    }

    /// A disk is taken in, prepared and served.
    mutating func serve(_ export: String = "disk", as number: UInt64 = 1) throws -> MigrationID {
        let migration = try prepare(export)
        _ = try machine.committed(migration)
        machine.recorded(migration)
        _ = machine.served(migration, as: ServedDisk(number: number))
        return migration
    }
}
