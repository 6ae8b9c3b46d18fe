import Foundation
import NIOConcurrencyHelpers
import Testing

@testable import Rados
@testable import Site

/// The right to serve a disk on an RBD image, with a store in memory that fails at the worst moments.
@Suite("Rules of disks on RBD images")
struct DiskRulesTests {
    private static let image = "rbd:rbd/web"
    private let store = MemoryRecords()
    private let own = MemoryOwnRecords()
    private let a = DiskOwner(host: "a", home: 1)

    private func claim(_ owner: DiskOwner, isArriving: Bool = false) throws -> DiskClaim {
        try DiskClaim(
            Self.image, as: "web", of: owner, in: store, users: store, own: own, isArriving: isArriving)
    }

    /// A claim on a disk of which all is here, for certain.
    private func served(_ owner: DiskOwner) throws -> DiskClaim {
        let claim = try claim(owner)
        try claim.markServed(asOf: claim.departures)
        return claim
    }

    /// The process ends, and the next one of the same state directory begins.
    private func end(_ claim: DiskClaim) -> DiskOwner {
        claim.ended(isClean: true)
        return DiskOwner(host: a.host, home: a.home)
    }

    private func open(_ client: String) { store.state.withLockedValue { $0.use.watchers = [client] } }

    private func fail(_ fault: MemoryRecords.Fault) { store.state.withLockedValue { $0.fault = fault } }

    private func change(_ body: (inout DiskRecord) -> Void) {
        store.state.withLockedValue { state in
            if var record = state.record {
                body(&record)
                record.generation += 1
                state.record = record
            }
        }
    }

    private var fenced: [[String]] { store.state.withLockedValue { $0.fenced } }

    // MARK: Opening

    private func opening(
        _ old: DiskRecord.State?, home: UInt64 = 1, clients: [String] = [], copy: DiskOpening.Copy = .sound,
        isArriving: Bool = false,
        _ change: (inout RBDImage.Use) -> Void = { _ in }
    ) throws -> DiskOpening {
        var use = RBDImage.Use()
        use.identity = "1"
        change(&use)
        let record = old.map {
            DiskRecord(
                image: Self.image, identity: "1", export: "web", host: "a", instance: 9, home: home, generation: 5,
                state: $0, clients: clients)
        }
        return try DiskOpening(Self.image, as: "web", of: a, use, after: record, copy: copy, isArriving: isArriving)
    }

    @Test("A disk arrives on an image that the site knows -> it is arriving, unless it may be newer elsewhere")
    func arriving() throws {
        #expect(try opening(.served, isArriving: true).next.state == .arriving)
        #expect(try opening(nil, isArriving: true).next.state == .arriving)
        #expect(try opening(.leaving, isArriving: true).next.state == .leaving)
        #expect(try opening(.arriving).next.state == .arriving)
        #expect(try opening(.served).next.state == .served)
    }

    @Test("The node's own records say that the disk is not here whole -> the record never says that it is")
    func ownRecords() throws {
        for state in [nil, .served, .arriving, .leaving] as [DiskRecord.State?] {
            for isArriving in [false, true] {
                #expect(try opening(state, copy: .departed("x"), isArriving: isArriving).next.state == .leaving)
                let partial = try opening(state, copy: .partial("x"), isArriving: isArriving).next.state
                #expect(partial == (state == .leaving ? .leaving : .arriving))
            }
        }
        #expect(try opening(nil).next.state == .arriving)
    }

    @Test(
        "They contradict what another state directory or a takeover has written -> held back, with the file",
        arguments: [0, 2] as [UInt64])
    func contradiction(home: UInt64) throws {
        for copy in [DiskOpening.Copy.partial("/state/x"), .departed("/state/x")] {
            for isArriving in [false, true] {
                let error = #expect(throws: DiskError.self) {
                    try opening(.served, home: home, copy: copy, isArriving: isArriving)
                }
                #expect(error.map { "\($0)" }?.contains("/state/x") == true)
            }
        }
    }

    @Test("No record in the store, and the disk has moved away -> no takeover of what is left here")
    func noRecord() throws {
        own.state.withLockedValue { $0.departure = "/state/moved" }
        let first = try claim(a)
        #expect(store.latest?.state == .leaving && store.states == [.leaving])
        // A damaged record that was removed leaves none as well.
        let next = end(first)
        store.state.withLockedValue { $0.record = nil }
        _ = try claim(next)
        #expect(store.states == [.leaving, .leaving])
    }

    @Test("A served record, and the disk has moved away without the site -> no takeover from the next start on")
    func withoutSite() throws {
        let next = end(try served(a))
        own.state.withLockedValue { $0.departure = "/state/moved" }
        let before = store.states.count
        // Nothing is opened where the store can't be told.
        fail(.before)
        #expect(throws: MemoryRecords.Away.self) { try claim(next) }
        let second = try claim(next)
        #expect(store.states.dropFirst(before) == [.leaving])
        #expect(second.state == .leaving)
    }

    @Test("The node's own records can't be read -> nothing is opened or written")
    func unreadableOwnRecords() throws {
        own.state.withLockedValue { $0.fails = true }
        #expect(throws: MemoryRecords.Away.self) { try claim(a) }
        #expect(store.latest == nil)
    }

    @Test("A takeover and a return -> a request to move the disk, which a kill has left, is gone first")
    func oldRequest() throws {
        own.state.withLockedValue { $0.hasRequest = true }
        let first = try served(a)
        #expect(own.state.withLockedValue { $0.hasRequest })
        first.ended(isClean: true)
        change { ($0.host, $0.instance, $0.home) = ("a", 0, 0) }
        own.state.withLockedValue { $0.fails = true }
        #expect(throws: MemoryRecords.Away.self) { try claim(a) }
        #expect(store.latest?.home == 0)
        own.state.withLockedValue { $0.fails = false }
        _ = try claim(a)
        #expect(store.latest?.home == 1 && !own.state.withLockedValue { $0.hasRequest })
    }

    @Test("The same host with another state directory -> refused unless all of the disk was there")
    func unexplained() throws {
        for state in [DiskRecord.State.arriving, .leaving] {
            #expect(throws: DiskError.self) { try opening(state, home: 2) }
            #expect(throws: Never.self) { try opening(state) }
        }
        #expect(throws: Never.self) { try opening(.served, home: 2) }
    }

    @Test("A node of the same name with clients and another state directory -> watched; after a takeover not")
    func watched() throws {
        #expect(try opening(.served, home: 2, clients: ["c"]).mustWatch)
        #expect(try !opening(.served, home: 0, clients: ["c"]).mustWatch)
        #expect(try !opening(.served, home: 1, clients: ["c"]).mustWatch)
        _ = try served(DiskOwner(host: "a", home: 2))
        change { $0.clients = ["c"] }
        store.state.withLockedValue { $0.isAlive = true }
        #expect(throws: DiskError.ownerIsAlive("a")) { try claim(a) }
        #expect(fenced.isEmpty)
    }

    @Test("A client that lives -> in use; one that has only the lock, or was fenced -> not; no lock -> refused")
    func users() throws {
        #expect(throws: DiskError.isInUse(Self.image, client: "x")) { try opening(nil) { $0.watchers = ["x"] } }
        let left = try opening(nil) { $0.lockers = ["x"] }
        #expect(left.next.clients == ["x"])
        #expect(throws: DiskError.noLock(Self.image)) { try opening(nil) { $0.hasLock = false } }
        #expect(try opening(.served, clients: ["y"]) { $0.watchers = ["x"] }.next.clients == ["x", "y"])
    }

    @Test(
        "An image whose writes go elsewhere first -> refused, also for a takeover, with what to do",
        arguments: RBDImage.detours.map(\.name))
    func detours(feature: String) throws {
        let error = DiskError.writesElsewhere(Self.image, feature: feature)
        #expect(throws: error) { try opening(nil) { $0.detour = feature } }
        #expect("\(error)".contains("the feature \(feature)"))
        _ = try served(a)
        store.state.withLockedValue { $0.use.detour = feature }
        #expect(throws: error) {
            try DiskRegister.give(try #require(store.latest), to: "b", in: store, users: store)
        }
        #expect(store.latest?.host == "a")
    }

    // MARK: Records of other releases, and damaged ones

    @Test("A record of a later release -> refused by its version, whatever else is in it; no record -> damaged")
    func versions() throws {
        func read(_ text: String) throws -> DiskRecord {
            try DiskRecord(from: Data(text.utf8), of: Self.image, at: "x")
        }
        #expect(throws: SiteError.laterVersion(file: "x", version: 2)) { try read(#"{"version":2,"images":[]}"#) }
        let damaged = DiskError.isDamaged(Self.image, record: "x")
        for text in ["", "{}", #"{"version":1}"#, #"{"version":0,"images":[]}"#] {
            #expect(throws: damaged) { try read(text) }
        }
        _ = try claim(a)
        let record = try #require(store.latest)
        #expect(try DiskRecord(from: JSONEncoder().encode(record), of: Self.image, at: "x") == record)
        #expect(throws: DiskError.isDamaged("rbd:rbd/b", record: "x")) {
            try DiskRecord(from: JSONEncoder().encode(record), of: "rbd:rbd/b", at: "x")
        }
    }

    // MARK: Claims

    @Test("The client is not listed -> not admitted; a client that was fenced does not count")
    func admission() throws {
        let claim = try claim(a)
        #expect(throws: DiskError.noClient(Self.image)) { try claim.admit() }
        open("c1")
        try claim.admit()
        #expect(store.latest?.clients == ["c1"])
        #expect(throws: DiskError.noClient(Self.image)) { try claim.admit() }
        #expect(!claim.isFinal(DiskError.noClient(Self.image)) && !claim.isFinal(MemoryRecords.Away()))
        #expect(claim.isFinal(DiskError.lost(image: Self.image)))
    }

    @Test("Another image has taken the name when a helper opens it -> not admitted, for good")
    func otherImage() throws {
        let claim = try claim(a)
        open("c1")
        store.state.withLockedValue { $0.use.identity = "2" }
        let error = DiskError.otherImage(Self.image)
        #expect(throws: error) { try claim.admit() }
        #expect(claim.isFinal(error))
    }

    @Test(
        "A write fails, and is done or not, at once or late -> the next change holds, and .leaving is written",
        arguments: [MemoryRecords.Fault.before, .after, .late])
    func faults(fault: MemoryRecords.Fault) throws {
        let claim = try served(a)
        try claim.markLeaving()
        fail(fault)
        #expect(throws: MemoryRecords.Away.self) { try claim.markServed(asOf: 0) }
        claim.beginDeparture()
        try claim.markLeaving()
        #expect(store.latest?.state == .leaving)
        fail(fault)
        #expect(throws: MemoryRecords.Away.self) { try claim.markLeaving() }
        try claim.markServed(asOf: claim.departures)
        #expect(store.latest?.state == .served)
    }

    @Test("Another host has taken it over while a write failed -> lost")
    func takenMeanwhile() throws {
        let claim = try claim(a)
        fail(.late)
        #expect(throws: MemoryRecords.Away.self) { try claim.markLeaving() }
        change { ($0.host, $0.instance, $0.home) = ("b", 0, 0) }
        #expect(throws: DiskError.lost(image: Self.image)) { try claim.markLeaving() }
        #expect(throws: DiskError.lost(image: Self.image)) { try claim.markServed(asOf: 0) }
        #expect(store.latest?.host == "b")
    }

    @Test("A migration begins after it was known that the disk is whole -> the late mark has no effect")
    func lateMark() throws {
        let claim = try claim(a)
        let departures = claim.departures
        claim.beginDeparture()
        try claim.markLeaving()
        try claim.markServed(asOf: departures)
        #expect(store.latest?.state == .leaving)
    }

    @Test("The helper was killed -> its client stays in the record, and is fenced at the next opening; else not")
    func ended() throws {
        for isClean in [false, true] {
            let claim = try claim(a)
            open("c-\(isClean)")
            try claim.admit()
            claim.ended(isClean: isClean)
            #expect(store.latest?.clients == (isClean ? [] : ["c-false"]))
            store.state.withLockedValue { $0.use.watchers = [] }
        }
        #expect(fenced == [["c-false"]])
    }

    @Test("A helper is killed, and the next one ends in order -> the client of the first is fenced at the next opening")
    func endedLater() throws {
        let first = try claim(a)
        for client in ["killed", "clean"] {
            open(client)
            try first.admit()
        }
        first.ended(isClean: true)
        #expect(store.latest?.clients == ["killed"])
        store.state.withLockedValue { $0.use.watchers = [] }
        _ = try claim(a)
        #expect(fenced == [["killed"]] && store.latest?.clients == [])
    }

    @Test("The host's record can't be read -> it may live, and keeps its disk")
    func unreadable() throws {
        store.state.withLockedValue { $0.watchFails = true }
        _ = try served(DiskOwner(host: "a", home: 2))
        change { $0.clients = ["c"] }
        #expect(throws: MemoryRecords.Away.self) { try claim(a) }
        #expect(fenced.isEmpty && store.latest?.home == 2)
    }

    @Test("A helper that is started again and again -> its earlier clients are fenced, and the record stays short")
    func restarts() throws {
        let claim = try claim(a)
        for number in 0..<40 {
            open("c\(number)")
            try claim.admit()
            let record = try #require(store.latest)
            #expect(record.clients.contains("c\(number)") && record.clients.count <= DiskClaim.mostClients)
            #expect(!fenced.joined().contains("c\(number)"))
        }
        #expect(Set(fenced.joined()).isSuperset(of: (0..<36).map { "c\($0)" }))
    }

    @Test("An image that this process serves -> no second claim until the first has ended")
    func twice() throws {
        let first = try claim(a)
        #expect(throws: DiskError.isServedHere(Self.image)) { try claim(a) }
        first.ended(isClean: true)
        let second = try claim(a)
        first.ended(isClean: true)
        #expect(throws: DiskError.isServedHere(Self.image)) { try claim(a) }
        second.ended(isClean: true)
    }

    // MARK: Takeovers

    @Test("A takeover -> fences whom the record and the image name, and never a client that comes later")
    func takeover() throws {
        let first = try claim(a)
        open("old")
        try first.admit()
        open("unlisted")
        let old = try #require(store.latest)
        _ = try DiskRegister.give(old, to: "b", in: store, users: store)
        #expect(fenced == [["old", "unlisted"]])
        #expect(store.latest?.host == "b" && store.latest?.home == 0 && store.latest?.clients == [])
        #expect(throws: DiskError.lost(image: Self.image)) { try first.admit() }
        // Nor if the cluster does not list the client any more.
        store.state.withLockedValue { $0.use.watchers = [] }
        #expect(throws: DiskError.lost(image: Self.image)) { try first.admit() }
    }

    @Test("A client is admitted after the takeover has read the record -> nothing changes, and it can be done again")
    func busyTakeover() throws {
        let first = try claim(a)
        let old = try #require(store.latest)
        open("late")
        try first.admit()
        #expect(throws: DiskError.isBusy(Self.image)) {
            try DiskRegister.give(old, to: "b", in: store, users: store)
        }
        #expect(store.latest?.host == "a" && fenced.isEmpty)
        _ = try DiskRegister.give(try #require(store.latest), to: "b", in: store, users: store)
        #expect(fenced == [["late"]])
    }

    @Test("A takeover whose fence fails -> the next opening by the new owner fences them first")
    func failedFence() throws {
        let first = try served(a)
        open("old")
        try first.admit()
        let old = try #require(store.latest)
        let failing = SlowUsers(store) { throw MemoryRecords.Away() }
        #expect(throws: MemoryRecords.Away.self) { try DiskRegister.give(old, to: "b", in: store, users: failing) }
        #expect(store.latest?.host == "b" && store.latest?.clients == ["old"] && fenced.isEmpty)
        let b = DiskOwner(host: "b", home: 3)
        #expect(throws: MemoryRecords.Away.self) {
            try DiskClaim(Self.image, as: "web", of: b, in: store, users: failing, own: own, isArriving: false)
        }
        _ = try claim(b)
        #expect(fenced == [["old"]] && store.latest?.clients == [])
    }

    @Test("A takeover that stands still while the new owner opens the disk -> does not fence that one")
    func slowTakeover() throws {
        let first = try served(a)
        open("old")
        try first.admit()
        let old = try #require(store.latest)
        let slow = SlowUsers(store) { [store, own] in
            // The host b opens it, after the record was given to it.
            let second = try DiskClaim(
                Self.image, as: "web", of: DiskOwner(host: "b", home: 3), in: store, users: store, own: own,
                isArriving: false)
            store.state.withLockedValue { $0.use.watchers = ["new"] }
            try second.admit()
        }
        _ = try DiskRegister.give(old, to: "b", in: store, users: slow)
        #expect(!fenced.joined().contains("new") && fenced.joined().contains("old"))
        #expect(store.latest?.clients == ["new"])
    }

    @Test("A takeover for the same host while its node starts -> that node does not count itself as the owner")
    func takeoverAgainstStart() throws {
        try beginAgain()
        let slow = SlowUsers(store) { [self] in
            _ = try DiskRegister.give(try #require(store.latest), to: "a", in: store, users: store)
        }
        #expect(throws: DiskError.lost(image: Self.image)) {
            try DiskClaim(Self.image, as: "web", of: a, in: store, users: slow, own: own, isArriving: false)
        }
        #expect(store.latest?.instance == 0 && store.latest?.home == 0)
        _ = try claim(a)
    }

    @Test("Two nodes of one name start at once -> the record is the later one's, and the other one gets no right to it")
    func twoOfOneName() throws {
        try beginAgain()
        let twin = DiskOwner(host: "a", home: 1)
        let second = NIOLockedValueBox<DiskClaim?>(nil)
        let slow = SlowUsers(store) { [self] in
            let claim = try DiskClaim(
                Self.image, as: "web", of: twin, in: store, users: store, own: own, isArriving: false)
            second.withLockedValue { $0 = claim }
        }
        #expect(throws: DiskError.lost(image: Self.image)) {
            try DiskClaim(Self.image, as: "web", of: a, in: store, users: slow, own: own, isArriving: false)
        }
        #expect(store.latest?.instance == twin.instance)
        open("new")
        try second.withLockedValue { $0 }?.admit()
        #expect(store.latest?.clients == ["new"])
    }

    /// A node was killed, and has left a client to be fenced.
    private func beginAgain() throws {
        let first = try served(DiskOwner(host: "a", home: 1))
        open("killed")
        try first.admit()
        store.state.withLockedValue { $0.use.watchers = [] }
    }

    /// Users of which the fence comes late.
    private struct SlowUsers: DiskUsers {
        let users: any DiskUsers
        let meanwhile: @Sendable () throws -> Void

        init(_ users: any DiskUsers, _ meanwhile: @escaping @Sendable () throws -> Void) {
            (self.users, self.meanwhile) = (users, meanwhile)
        }

        func use() throws -> RBDImage.Use { try users.use() }

        func fence(_ addresses: [String]) throws {
            try meanwhile()
            try users.fence(addresses)
        }
    }
}
