import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("Arriving disks that the operator gives up")
struct ArrivalCancelTests {
    @Test("A disk of which nothing is known is unknown, one that is served is this node's")
    func ends() throws {
        var world = ArrivalWorld()
        var cancel = ArrivalCancel("disk", isSourceGone: false)
        #expect(world.machine.advance(&cancel) == .end(.unknown))
        let migration = try world.prepare()
        _ = try world.machine.committed(migration)
        cancel = ArrivalCancel("disk", isSourceGone: true)
        #expect(world.machine.advance(&cancel) == .end(.handedOver))
        world.machine.recorded(migration)
        _ = world.machine.served(migration, as: ServedDisk(number: 1))
        #expect(world.machine.advance(&cancel) == .end(.handedOver))
    }

    @Test("A disk that is copied is dismissed: it can't be prepared any more, and nothing of it is kept")
    func receiving() throws {
        var world = ArrivalWorld()
        let (migration, carrier) = try world.receive()
        var cancel = ArrivalCancel("disk", isSourceGone: false)
        #expect(world.machine.advance(&cancel) == .dismiss(migration, carrier))
        #expect(throws: MigrationError.self) { try world.machine.checkNotDismissed(migration) }
        #expect(throws: MigrationError.self) { try world.machine.checkMayPrepare(migration) }
        let (_, removal) = world.carrierEnded(migration, keepsPartial: true)
        #expect(removal?.keepsImage == false)
        _ = world.machine.removalEnded(migration, isDone: true)
        #expect(world.machine.advance(&cancel) == .end(.cancelled))
    }

    @Test("Clients that are answered for it are answered no more")
    func announced() throws {
        var world = ArrivalWorld()
        let (migration, _) = try world.receive()
        world.machine.announced("disk", size: ArrivalWorld.size)
        _ = world.carrierEnded(migration, keepsPartial: true)
        var cancel = ArrivalCancel("disk", isSourceGone: false)
        #expect(world.machine.advance(&cancel) == .withdraw("disk"))
        #expect(world.machine.advance(&cancel) == .end(.cancelled))
        #expect(!world.machine.isAnswered("disk"))
    }

    @Test("A source that brings its disk again and again is not waited for without end")
    func broughtAgain() throws {
        var world = ArrivalWorld()
        var cancel = ArrivalCancel("disk", isSourceGone: false)
        var (migration, carrier) = try world.receive()
        for attempt in 1...ArrivalCancel.attempts {
            #expect(world.machine.advance(&cancel) == .dismiss(migration, carrier), "attempt \(attempt)")
            // Its source comes before the operator looks again.
            cancel.progress = .begun
            _ = world.carrierEnded(migration, keepsPartial: false)
            _ = world.machine.removalEnded(migration, isDone: true)
            (migration, carrier) = try world.receive()
        }
        #expect(world.machine.advance(&cancel) == .end(.broughtAgain))
    }

    @Test("Invariant 5: a prepared disk goes only by its source, or if the operator says that its source is gone")
    func prepared() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare(stays: true)
        var cancel = ArrivalCancel("disk", isSourceGone: true)
        guard case .ask(migration, _) = world.machine.advance(&cancel) else {
            Issue.record("its source is there")
            return
        }
        #expect(world.machine.advance(&cancel) == .end(.undecided), "its source is not gone")
        _ = world.carrierEnded(migration, keepsPartial: false)
        cancel = ArrivalCancel("disk", isSourceGone: false)
        #expect(world.machine.advance(&cancel) == .end(.undecided))
        cancel = ArrivalCancel("disk", isSourceGone: true)
        let removal = ArrivalRemoval(migration: migration, keepsImage: false, isLast: false)
        #expect(world.machine.advance(&cancel) == .remove(removal))
        _ = world.machine.removalEnded(migration, isDone: true)
        #expect(world.machine.advance(&cancel) == .end(.cancelled))
    }

    @Test("A source that is asked, keeps its disk and brings it again by the same migration is dismissed")
    func askedAndBroughtAgain() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare(stays: true)
        var cancel = ArrivalCancel("disk", isSourceGone: false)
        _ = world.machine.advance(&cancel)
        _ = world.machine.abandoned(migration)
        _ = world.machine.removalEnded(migration, isDone: true)
        let carrier = try world.receive(ArrivalWorld.offer(migration))
        #expect(world.machine.advance(&cancel) == .dismiss(migration, carrier))
    }

    @Test("A source that is asked may decide either way")
    func decided() throws {
        for isKept in [true, false] {
            var world = ArrivalWorld()
            let migration = try world.prepare(stays: true)
            var cancel = ArrivalCancel("disk", isSourceGone: false)
            _ = world.machine.advance(&cancel)
            let wait = world.machine.watch(migration)
            let actions: [ArrivalMachine<String>.Action]
            if isKept {
                _ = world.machine.abandoned(migration)
                #expect(world.machine.advance(&cancel) == .wait(migration))
                actions = world.machine.removalEnded(migration, isDone: true)
            } else {
                _ = try world.machine.committed(migration)
                world.machine.recorded(migration)
                actions = world.machine.served(migration, as: ServedDisk(number: 1))
            }
            #expect(actions.last == .wake(wait), "what waits for the decision looks again")
            #expect(world.machine.advance(&cancel) == .end(isKept ? .cancelled : .handedOver))
        }
    }
}
