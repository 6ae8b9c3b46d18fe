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
        supersedes: MigrationID? = nil, known: [MigrationID] = []
    ) -> ArrivalRecord {
        ArrivalRecord(
            migration: migration, export: export, size: size, isCommitted: isCommitted, isReturn: isReturn,
            supersedes: supersedes, known: [migration] + known)
    }

    mutating func connect() -> ArrivalConnection {
        nextConnection += 1
        return ArrivalConnection(number: nextConnection)
    }

    /// A disk is taken in.
    /// - Parameter base: the migration by which the image moved away into which it comes; nil for a new image.
    mutating func receive(
        _ export: String = "disk", from peer: String = "peer", base: MigrationID? = nil
    ) throws -> (migration: MigrationID, carrier: ArrivalConnection) {
        let migration = MigrationID()
        return (migration, try receive(Self.offer(migration, export), from: peer, base: base))
    }

    /// A disk is taken in.
    mutating func receive(
        _ offer: ArrivalOffer, from peer: String = "peer", base: MigrationID? = nil
    ) throws -> ArrivalConnection {
        guard try machine.offered(offer, base: base) == .take else {
            throw MigrationError.refused("not to be taken")
        }
        let carrier = connect()
        machine.opened(offer, base: base, from: peer, over: carrier)
        return carrier
    }

    /// The connection that brings a disk has ended.
    mutating func carrierEnded(
        _ migration: MigrationID, keepsPartial: Bool
    ) -> (actions: [ArrivalMachine<String>.Action], removal: ArrivalRemoval?) {
        guard let carrier = machine.carrier(of: migration) else { return ([], nil) }
        return machine.carrierEnded(migration, over: carrier, LeftCopy(comesAgain: keepsPartial, hasBase: true))
    }

    /// A disk is taken in and prepared; its carrier has ended unless it `stays`.
    mutating func prepare(
        _ export: String = "disk", base: MigrationID? = nil, stays: Bool = false
    ) throws -> MigrationID {
        let (migration, _) = try receive(export, base: base)
        _ = machine.prepared(Self.record(migration, export, isReturn: base != nil, supersedes: base))
        if !stays { _ = carrierEnded(migration, keepsPartial: false) }
        return migration
    }

    /// A disk is taken in, prepared and served.
    mutating func serve(
        _ export: String = "disk", base: MigrationID? = nil, as number: UInt64 = 1
    ) throws -> MigrationID {
        let migration = try prepare(export, base: base)
        _ = try machine.committed(migration)
        machine.recorded(migration)
        _ = machine.served(migration, as: ServedDisk(number: number))
        return migration
    }
}
