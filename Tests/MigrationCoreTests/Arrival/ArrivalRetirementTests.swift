import PeerModel
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("Disks whose life as arrived ones the operator ends")
struct ArrivalRetirementTests {
    @Test("A retired disk, with an alias -> nothing is known of it, and its name is free")
    func retired() throws {
        var world = ArrivalWorld()
        let (migration, alias) = (MigrationID(), MigrationID())
        #expect(
            world.machine.restored(ArrivalWorld.record(migration, isCommitted: true, known: [alias])) == .serve)
        _ = try world.machine.committed(migration)
        world.machine.recorded(migration)
        _ = world.machine.served(migration, as: ServedDisk(number: 1))
        #expect(world.machine.knows(alias))
        let wait = world.machine.watch(migration)
        let actions = world.machine.retire(migration)
        #expect(actions.contains(.forget(migration, export: "disk")) && actions.contains(.wake(wait)))
        #expect(!world.machine.knows(migration) && !world.machine.knows(alias))
        #expect(world.machine.exports.isEmpty && world.machine.watches.isEmpty)
        #expect(try world.machine.offered(ArrivalWorld.offer(MigrationID()), base: nil) == .take)
        #expect(throws: MigrationError.self) {
            try world.machine.forwarderGreeted(migration, world.connect(), isCommitted: true)
        }
    }

    @Test("A node that forwards, even without a request so far -> seen until it disconnects")
    func forwardedTo() throws {
        var world = ArrivalWorld()
        let migration = try world.serve()
        #expect(!world.machine.isForwardedTo(migration))
        let connection = world.connect()
        let (turn, _) = try world.machine.forwarderGreeted(migration, connection, isCommitted: true)
        #expect(world.machine.isForwardedTo(migration))
        world.machine.forwarderNotIdle(migration, connection)
        #expect(world.machine.beginForwarding(migration, connection, turn: turn) == .begin)
        #expect(world.machine.isForwardedTo(migration))
        _ = world.machine.forwarderEnded(migration, connection)
        #expect(!world.machine.isForwardedTo(migration))
    }
}
