import PeerModel
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("Connections that forward requests to a node")
struct ArrivalForwarderTests {
    @Test("What waits for a disk is answered once it is served")
    func answered() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare()
        guard case .wait(let wait) = world.machine.wantsDisk(migration) else {
            Issue.record("it is not served yet")
            return
        }
        _ = try world.machine.committed(migration)
        world.machine.recorded(migration)
        let disk = ServedDisk(number: 7)
        #expect(world.machine.served(migration, as: disk) == [.answer(wait, disk)])
        #expect(world.machine.wantsDisk(migration) == .served(disk))
    }

    @Test("What waits for a disk is let go when the disk goes, its connection ends, or the node stops")
    func letGo() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare()
        var waits: [ArrivalWait] = []
        for _ in 0..<3 {
            if case .wait(let wait) = world.machine.wantsDisk(migration) { waits.append(wait) }
        }
        #expect(world.machine.endWait(for: migration, waits[0]) == [.answer(waits[0], nil)])
        #expect(world.machine.endWait(for: migration, waits[0]).isEmpty)
        var other = world.machine
        #expect(other.stop() == [.answer(waits[1], nil), .answer(waits[2], nil)])
        #expect(other.wantsDisk(migration) == .never)
        _ = world.machine.abandoned(migration)
        let ended = world.machine.removalEnded(migration, isDone: true)
        #expect(ended.suffix(2) == [.answer(waits[1], nil), .answer(waits[2], nil)])
        #expect(world.machine.wantsDisk(migration) == .never)
    }

    @Test("Invariant 9: a new connection's requests wait until nothing of the old one is in flight")
    func replaced() throws {
        var world = ArrivalWorld()
        let migration = try world.serve()
        let (old, new) = (world.connect(), world.connect())
        let (oldTurn, _) = try world.machine.forwarderGreeted(migration, old, isCommitted: true)
        let (newTurn, _) = try world.machine.forwarderGreeted(migration, new, isCommitted: true)
        #expect(world.machine.beginForwarding(migration, new, turn: newTurn) == .begin)
        #expect(world.machine.beginForwarding(migration, old, turn: oldTurn) == .wait(new))
        let wait = world.machine.watch(migration)
        #expect(world.machine.forwarderEnded(migration, old).isEmpty)
        #expect(world.machine.beginForwarding(migration, old, turn: oldTurn) == .wait(new))
        #expect(world.machine.forwarderEnded(migration, new) == [.wake(wait)])
        // Its requests are older than what the newer one has brought.
        #expect(world.machine.beginForwarding(migration, old, turn: oldTurn) == .late)
    }

    @Test("A connection that does not say that the disk is this node's makes no other one late")
    func uncommitted() throws {
        var world = ArrivalWorld()
        let migration = try world.serve()
        let (old, new) = (world.connect(), world.connect())
        let (turn, _) = try world.machine.forwarderGreeted(migration, old, isCommitted: true)
        _ = try world.machine.forwarderGreeted(migration, new, isCommitted: false)
        #expect(world.machine.beginForwarding(migration, old, turn: turn) == .begin)
    }

    @Test("Of the connections that ask for nothing the oldest goes, and not those that serve")
    func idle() throws {
        var world = ArrivalWorld()
        let migration = try world.serve()
        var connections: [ArrivalConnection] = []
        for _ in 0..<PeerLimits.idleForwardersPerMigration {
            connections.append(world.connect())
            let greeted = try world.machine.forwarderGreeted(migration, connections.last!, isCommitted: true)
            #expect(greeted.actions.isEmpty)
        }
        world.machine.forwarderNotIdle(migration, connections[0])
        var greeted = try world.machine.forwarderGreeted(migration, world.connect(), isCommitted: true)
        #expect(greeted.actions.isEmpty)
        greeted = try world.machine.forwarderGreeted(migration, world.connect(), isCommitted: true)
        #expect(greeted.actions == [.close(connections[1])])
        #expect(greeted.turn == UInt64(PeerLimits.idleForwardersPerMigration) + 2)
    }

    @Test("Nothing is kept of forwarders once all is forgotten")
    func forgotten() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare()
        let connection = world.connect()
        _ = try world.machine.forwarderGreeted(migration, connection, isCommitted: false)
        _ = world.machine.abandoned(migration)
        _ = world.machine.removalEnded(migration, isDone: true)
        world.machine.forwarderNotIdle(migration, connection)
        // Its greeting began before.
        #expect(throws: MigrationError.self) {
            try world.machine.forwarderGreeted(migration, world.connect(), isCommitted: false)
        }
        #expect(world.machine.forwarders.isEmpty && world.machine.diskWaits.isEmpty && world.machine.watches.isEmpty)
    }
}
