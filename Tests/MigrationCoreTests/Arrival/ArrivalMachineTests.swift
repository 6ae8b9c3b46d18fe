import PeerModel
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("Disks that arrive at a node")
struct ArrivalMachineTests {
    private typealias Machine = ArrivalMachine<String>

    // MARK: Offers

    @Test("A second source of a disk that is arriving is refused, and the first goes on")
    func secondSource() throws {
        var world = ArrivalWorld()
        let (first, _) = try world.receive()
        #expect(throws: MigrationError.self) {
            try world.machine.offered(ArrivalWorld.offer(MigrationID()), base: nil)
        }
        try world.machine.checkMayPrepare(first)
    }

    @Test("A migration that is known already is refused")
    func knownMigration() throws {
        var world = ArrivalWorld()
        let (migration, _) = try world.receive()
        let again = ArrivalWorld.offer(migration, "other", abandoned: [migration])
        #expect(throws: MigrationError.self) { try world.machine.offered(again, base: nil) }
    }

    @Test("An attempt that its source has given up ends before the next one begins, and its image is kept")
    func replacedAttempt() throws {
        var world = ArrivalWorld()
        let (older, carrier) = try world.receive()
        let offer = ArrivalWorld.offer(MigrationID(), abandoned: [older])
        #expect(try world.machine.offered(offer, base: nil) == .end(older, carrier))
        let wait = world.machine.watch(older)
        let (actions, removal) = world.carrierEnded(older, keepsPartial: true)
        #expect(actions == [.forget(older, export: "disk"), .wake(wait)] && removal == nil)
        #expect(try world.machine.offered(offer, base: nil) == .take)
    }

    @Test("A prepared disk that its source has given up goes before the next attempt, and its image is kept")
    func replacedPreparedDisk() throws {
        var world = ArrivalWorld()
        let older = try world.prepare(stays: true)
        let offer = ArrivalWorld.offer(MigrationID(), abandoned: [older])
        guard case .end(older, _?) = try world.machine.offered(offer, base: nil) else {
            Issue.record("its carrier stays")
            return
        }
        _ = world.carrierEnded(older, keepsPartial: false)
        let removal = ArrivalRemoval(migration: older, keepsImage: true, isLast: false)
        #expect(try world.machine.offered(offer, base: nil) == .remove(removal))
        // Meanwhile another offer waits for the same.
        #expect(try world.machine.offered(offer, base: nil) == .end(older, nil))
        _ = world.machine.removalEnded(older, isDone: true)
        #expect(try world.machine.offered(offer, base: nil) == .take)
    }

    @Test("A prepared disk whose removal fails stays, so that its source says so again")
    func failedRemoval() throws {
        var world = ArrivalWorld()
        let older = try world.prepare()
        let offer = ArrivalWorld.offer(MigrationID(), abandoned: [older])
        _ = try world.machine.offered(offer, base: nil)
        let actions = world.machine.removalEnded(older, isDone: false)
        #expect(actions.isEmpty && world.machine.isPrepared(older))
        #expect(
            try world.machine.offered(offer, base: nil)
                == .remove(ArrivalRemoval(migration: older, keepsImage: true, isLast: false)))
    }

    @Test("Invariant 5: a prepared disk is not replaced by an offer that does not say that it was given up")
    func preparedStays() throws {
        var world = ArrivalWorld()
        let older = try world.prepare()
        #expect(throws: MigrationError.self) {
            try world.machine.offered(ArrivalWorld.offer(MigrationID()), base: nil)
        }
        #expect(world.machine.isPrepared(older))
    }

    @Test("A given-up attempt goes under whatever name it came")
    func renamedAttempt() throws {
        var world = ArrivalWorld()
        let older = try world.prepare("old")
        let offer = ArrivalWorld.offer(MigrationID(), "new", abandoned: [older])
        #expect(
            try world.machine.offered(offer, base: nil)
                == .remove(ArrivalRemoval(migration: older, keepsImage: true, isLast: false)))
    }

    @Test("Invariant 5: a disk that was given to this node stays, whatever a source says it has given up")
    func servedStays() throws {
        var world = ArrivalWorld()
        let migration = try world.serve()
        let offer = ArrivalWorld.offer(MigrationID(), abandoned: [migration])
        #expect(throws: MigrationError.self) { try world.machine.offered(offer, base: nil) }
        let removal = world.machine.abandoned(migration)
        #expect(removal == nil && world.machine.served(migration) != nil)
    }

    @Test("A disk comes back into an image that has moved on, and those that forwarded to its earlier life still may")
    func comingBack() throws {
        var world = ArrivalWorld()
        let earlier = try world.serve()
        let (later, _) = try world.receive(base: MigrationID())
        #expect(world.machine.served(earlier) != nil)
        let (_, removal) = world.carrierEnded(later, keepsPartial: false)
        #expect(removal?.keepsImage == true)
        _ = world.machine.removalEnded(later, isDone: true)
        #expect(world.machine.migration(of: "disk") == earlier)
    }

    @Test("Invariant 5: an image into which its disk has come back is nobody else's, whatever the node said before")
    func baseIsUsedOnce() throws {
        var world = ArrivalWorld()
        _ = try world.serve()
        let base = MigrationID()
        let attempt = try world.prepare("other")
        let offer = ArrivalWorld.offer(MigrationID(), abandoned: [attempt])
        guard case .remove = try world.machine.offered(offer, base: base) else {
            Issue.record("an attempt that was given up stays")
            return
        }
        // Meanwhile its own source brings the disk back.
        let back = try world.serve(base: base)
        _ = world.machine.removalEnded(attempt, isDone: true)
        #expect(throws: MigrationError.self) { try world.machine.offered(offer, base: base) }
        #expect(world.machine.served(back) != nil && world.machine.isTaken("disk", base: base))
        // It moves away once more.
        #expect(!world.machine.isTaken("disk", base: MigrationID()))
        #expect(try world.machine.offered(offer, base: MigrationID()) == .take)
    }

    @Test("Invariant 5: an image is in use from the offer on, under each of its exports' names, and over a restart")
    func baseInUse() throws {
        var world = ArrivalWorld()
        let base = MigrationID()
        let offer = ArrivalWorld.offer(MigrationID(), "twin")
        let (first, _) = try world.receive(base: base)
        #expect(throws: MigrationError.self) { try world.machine.offered(offer, base: base) }
        _ = world.machine.prepared(ArrivalWorld.record(first, isReturn: true, supersedes: base))
        #expect(throws: MigrationError.self) { try world.machine.offered(offer, base: base) }
        _ = world.carrierEnded(first, keepsPartial: false)
        var later = ArrivalWorld()
        #expect(
            later.machine.restored(ArrivalWorld.record(first, isReturn: true, supersedes: base)) == .wait)
        #expect(throws: MigrationError.self) { try later.machine.offered(offer, base: base) }
        for var world in [world, later] {
            _ = world.machine.abandoned(first)
            _ = world.machine.removalEnded(first, isDone: true)
            #expect(try world.machine.offered(offer, base: base) == .take, "its source keeps the disk")
        }
    }

    @Test("Clients of a disk of another size are answered no more before the disk is taken")
    func otherSize() throws {
        var world = ArrivalWorld()
        let (first, _) = try world.receive()
        #expect(try world.machine.expected(first, "disk", isReadOnly: false, .manual) == .announce)
        world.machine.announced("disk", size: ArrivalWorld.size)
        #expect(try world.machine.expected(first, "disk", isReadOnly: false, .manual) == .answered)
        _ = world.carrierEnded(first, keepsPartial: true)
        #expect(world.machine.isDeserted("disk"))
        let offer = ArrivalWorld.offer(MigrationID(), size: 4096)
        #expect(try world.machine.offered(offer, base: nil) == .withdraw("disk"))
        #expect(try world.machine.offered(offer, base: nil) == .take)
    }

    @Test("No first write is waited for where none can come here")
    func firstWrite() throws {
        var world = ArrivalWorld()
        let (new, _) = try world.receive("new")
        #expect(throws: MigrationError.self) {
            try world.machine.expected(new, "new", isReadOnly: true, .firstWrite)
        }
        let (back, _) = try world.receive("back", base: MigrationID())
        #expect(throws: MigrationError.self) {
            try world.machine.expected(back, "back", isReadOnly: false, .firstWrite)
        }
        #expect(try world.machine.expected(back, "back", isReadOnly: false, .manual) == .none)
    }

    @Test("A peer has so many places, which end with its connections; disks that are not whole count on")
    func places() throws {
        var world = ArrivalWorld()
        var last = MigrationID()
        let another = ArrivalWorld.offer(MigrationID(), "another")
        for number in 0..<PeerLimits.arrivingPerPeer { last = try world.receive("disk\(number)").migration }
        #expect(throws: MigrationError.self) { try world.machine.checkPlaces(for: another, from: "peer") }
        try world.machine.checkPlaces(for: another, from: "other")
        _ = world.machine.prepared(ArrivalWorld.record(last, "disk\(PeerLimits.arrivingPerPeer - 1)"))
        _ = world.carrierEnded(last, keepsPartial: false)
        try world.machine.checkPlaces(for: another, from: "peer")
        let whole = ArrivalOffer(
            Offer(
                migration: MigrationID(), abandoned: [], export: "huge",
                size: (PeerLimits.unfinishedBlocksPerPeer - UInt64(PeerLimits.arrivingPerPeer) * 2) * 4096,
                blockSize: 4096))
        try world.machine.checkPlaces(for: whole, from: "peer")
        let larger = ArrivalOffer(
            Offer(
                migration: MigrationID(), abandoned: [], export: "huge", size: whole.size + 1, blockSize: 4096))
        #expect(throws: MigrationError.self) { try world.machine.checkPlaces(for: larger, from: "peer") }
        world.machine.completed(last)
        try world.machine.checkPlaces(for: larger, from: "peer")
    }

    // MARK: The carrier

    @Test("A carrier that ends leaves nothing of a disk that is not worth keeping, and its name is free only then")
    func carrierEnds() throws {
        var world = ArrivalWorld()
        let (migration, _) = try world.receive()
        let wait = world.machine.watch(migration)
        let (actions, removal) = world.carrierEnded(migration, keepsPartial: false)
        #expect(actions.isEmpty)
        #expect(removal == ArrivalRemoval(migration: migration, keepsImage: false, isLast: true))
        #expect(!world.machine.isIdle(migration))
        #expect(throws: MigrationError.self) {
            try world.machine.offered(ArrivalWorld.offer(MigrationID()), base: nil)
        }
        // Its source was never told that it is prepared.
        let ended = world.machine.removalEnded(migration, isDone: false)
        #expect(ended == [.forget(migration, export: "disk"), .wake(wait)])
        #expect(try world.machine.offered(ArrivalWorld.offer(MigrationID()), base: nil) == .take)
    }

    @Test("Invariant 5: a carrier that ends changes nothing about a prepared disk")
    func preparedCarrierEnds() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare(stays: true)
        let (actions, removal) = world.carrierEnded(migration, keepsPartial: false)
        #expect(actions.isEmpty && removal == nil && world.machine.isPrepared(migration))
        #expect(world.machine.waitingForSources.map(\.export) == ["disk"])
    }

    @Test("A source that keeps its disk has it removed here; into an image of the node's own nothing is removed")
    func abandoned() throws {
        var world = ArrivalWorld()
        let new = try world.prepare("new")
        #expect(world.machine.abandoned(new) == ArrivalRemoval(migration: new, keepsImage: false, isLast: false))
        let (back, _) = try world.receive("back", base: MigrationID())
        _ = world.machine.prepared(ArrivalWorld.record(back, "back", isReturn: true))
        #expect(world.machine.abandoned(back)?.keepsImage == true)
    }

    @Test("The end of a connection that was given up changes nothing of a later one that brings the same attempt")
    func otherCarrierEnds() throws {
        var world = ArrivalWorld()
        let offer = ArrivalWorld.offer(MigrationID())
        let first = try world.receive(offer)
        _ = world.machine.abandoned(offer.migration)
        _ = world.machine.removalEnded(offer.migration, isDone: true)
        #expect(world.machine.carrier(of: offer.migration) == nil && world.machine.isIdle(offer.migration))
        let second = try world.receive(offer)
        for keepsPartial in [true, false] {
            let (actions, removal) = world.machine.carrierEnded(
                offer.migration, over: first, LeftCopy(comesAgain: keepsPartial, hasBase: true))
            #expect(actions.isEmpty && removal == nil)
        }
        #expect(world.machine.carrier(of: offer.migration) == second)
        try world.machine.checkMayPrepare(offer.migration)
        for number in 1..<PeerLimits.arrivingPerPeer { _ = try world.receive("disk\(number)") }
        let another = ArrivalWorld.offer(MigrationID(), "another")
        #expect(throws: MigrationError.self) { try world.machine.checkPlaces(for: another, from: "peer") }
    }

    /// Whether the image is removed once a connection has ended over which this has come.
    private func isRemoved(_ left: LeftCopy, isAnswered: Bool = false) throws -> Bool {
        var world = ArrivalWorld()
        let (migration, carrier) = try world.receive()
        if isAnswered { world.machine.announced("disk", size: 1 << 20) }
        return world.machine.carrierEnded(migration, over: carrier, left).removal != nil
    }

    @Test("A connection is cut -> what has come is kept if it is worth another attempt, and sound")
    func leftCopy() throws {
        let enough: UInt64 = 1 << 20
        #expect(try !isRemoved(LeftCopy(comesAgain: true, present: enough)))
        #expect(try isRemoved(LeftCopy(comesAgain: true, present: enough - 1)))
        #expect(try !isRemoved(LeftCopy(comesAgain: true, hasBase: true)))
        #expect(try !isRemoved(LeftCopy(comesAgain: true), isAnswered: true), "clients wait for the next attempt")
        #expect(try isRemoved(LeftCopy(comesAgain: false, hasBase: true, present: enough), isAnswered: true))
        #expect(try isRemoved(LeftCopy(comesAgain: true, isSound: false, hasBase: true), isAnswered: true))
    }

    // MARK: The switchover

    @Test("Invariant 5: only a prepared disk is served, and only once that is recorded")
    func committed() throws {
        var world = ArrivalWorld()
        #expect(throws: MigrationError.self) { try world.machine.committed(MigrationID()) }
        let (migration, _) = try world.receive()
        #expect(throws: MigrationError.self) { try world.machine.committed(migration) }
        _ = world.machine.prepared(ArrivalWorld.record(migration))
        #expect(try world.machine.committed(migration) == .serve)
        #expect(try world.machine.committed(migration) == .join)
        #expect(world.machine.served(migration) == nil)
        world.machine.recorded(migration)
        #expect(world.machine.served(migration) == nil)
        let disk = ServedDisk(number: 1)
        _ = world.machine.served(migration, as: disk)
        #expect(try world.machine.committed(migration) == .served(disk))
    }

    @Test("Invariant 5: a disk that could not be served is this node's all the same, and the next commit tries again")
    func servingFails() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare()
        _ = try world.machine.committed(migration)
        _ = world.machine.servingFailed(migration)
        #expect(!world.machine.isPrepared(migration) && world.machine.waitingForSources.isEmpty)
        #expect(world.machine.abandoned(migration) == nil)
        var cancel = ArrivalCancel("disk", isSourceGone: true)
        #expect(world.machine.advance(&cancel) == .end(.handedOver))
        let offer = ArrivalWorld.offer(MigrationID(), abandoned: [migration])
        #expect(throws: MigrationError.self) { try world.machine.offered(offer, base: nil) }
        #expect(try world.machine.committed(migration) == .serve)
    }

    @Test("A disk that is being removed is not served")
    func removingIsNotServed() throws {
        var world = ArrivalWorld()
        let migration = try world.prepare()
        _ = world.machine.abandoned(migration)
        #expect(throws: MigrationError.self) { try world.machine.committed(migration) }
    }

    // MARK: After a restart

    @Test("Invariant 5: after a restart a prepared disk waits for its source, which may commit or keep it")
    func restoredPrepared() throws {
        var world = ArrivalWorld()
        let (kept, given) = (MigrationID(), MigrationID())
        #expect(world.machine.restored(ArrivalWorld.record(kept, "kept")) == .wait)
        #expect(world.machine.restored(ArrivalWorld.record(given, "given")) == .wait)
        #expect(world.machine.served(given) == nil)
        #expect(try world.machine.committed(given) == .serve)
        #expect(world.machine.abandoned(kept) != nil)
    }

    @Test("A record of an active disk is not acted upon before it is written again: it may not be durable")
    func restoredActive() throws {
        var world = ArrivalWorld()
        let (migration, alias) = (MigrationID(), MigrationID())
        let record = ArrivalWorld.record(migration, isCommitted: true, known: [alias])
        #expect(world.machine.restored(record) == .serve)
        #expect(world.machine.served(migration) == nil && !world.machine.knows(alias))
        #expect(try world.machine.committed(migration) == .serve)
        _ = world.machine.servingFailed(migration)
        #expect(world.machine.served(migration) == nil)
        // The next commit tries again.
        #expect(try world.machine.committed(migration) == .serve)
        world.machine.recorded(migration)
        _ = world.machine.served(migration, as: ServedDisk(number: 1))
        #expect(world.machine.served(alias) == ServedDisk(number: 1))
    }

    @Test("Of a disk that has come back the record of its coming is outdated once the disk is active")
    func restoredTwice() throws {
        var world = ArrivalWorld()
        let migration = MigrationID()
        _ = world.machine.restored(ArrivalWorld.record(migration, isCommitted: true, isReturn: true))
        #expect(world.machine.restored(ArrivalWorld.record(migration, isReturn: true)) == .discard)
    }

    @Test("A disk that is to come back is served in its earlier life until then")
    func restoredReturning() throws {
        var world = ArrivalWorld()
        let (earlier, later) = (MigrationID(), MigrationID())
        _ = world.machine.restored(ArrivalWorld.record(earlier, isCommitted: true))
        _ = try world.machine.committed(earlier)
        world.machine.recorded(earlier)
        _ = world.machine.served(earlier, as: ServedDisk(number: 1))
        #expect(world.machine.restored(ArrivalWorld.record(later, isReturn: true)) == .wait)
        #expect(world.machine.recordedExport(of: ServedDisk(number: 1)) == "disk")
        _ = world.machine.abandoned(later)
        _ = world.machine.removalEnded(later, isDone: true)
        #expect(world.machine.migration(of: "disk") == earlier)
    }

    // MARK: Other migrations of a disk

    @Test("Nodes that forwarded to a source are let in once, and nobody else's disk is theirs by that")
    func aliases() throws {
        var world = ArrivalWorld()
        let own = try world.serve("own", as: 1)
        let foreign = try world.serve("foreign", as: 2)
        let (arriving, _) = try world.receive("arriving")
        let new = MigrationID()
        #expect(try world.machine.introduced([new, foreign, own, arriving, new], by: own) == [new])
        #expect(!world.machine.knows(new), "not before it is recorded")
        world.machine.accepted([new, foreign], for: ServedDisk(number: 1))
        #expect(world.machine.served(new) == ServedDisk(number: 1))
        #expect(world.machine.served(foreign) == ServedDisk(number: 2))
        #expect(Set(world.machine.migrations(of: ServedDisk(number: 1))) == [own, new])
        #expect(try world.machine.introduced([new], by: own).isEmpty)
    }

    @Test("Nobody is introduced before the switchover, and no more than a record may hold")
    func aliasLimits() throws {
        var world = ArrivalWorld()
        let prepared = try world.prepare()
        #expect(throws: MigrationError.self) { try world.machine.introduced([MigrationID()], by: prepared) }
        try Machine.checkAliases(OfferLimits.maximumAliases)
        #expect(throws: MigrationError.self) { try Machine.checkAliases(OfferLimits.maximumAliases + 1) }
    }
}
