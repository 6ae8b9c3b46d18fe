import Testing

@testable import NBDServer

@Suite("Which loop serves which sessions") struct LoopSharingTests {
    private static let second: UInt64 = 1_000_000_000
    private static let short = SessionWork(bytes: 100_000_000, receives: 1000)
    private static let long = SessionWork(bytes: 1_000_000_000, receives: 1000)
    private static let none = SessionWork()

    private func view(
        own: Int = 0, _ busy: [Int], _ works: [SessionWork], idle: Int?, usable: Int = 16_000,
        _ change: (inout [LoopState]) -> Void = { _ in }
    ) -> LoopSharing.View {
        var loops = busy.map { LoopState(busy: $0, sessions: works.count) }
        change(&loops)
        let cores = idle.map { CoreState(usable: usable, idle: $0) }
        return LoopSharing.View(own: own, loops: loops, works: works, cores: cores)
    }

    private func decision(_ view: LoopSharing.View) -> LoopSharing.Decision {
        LoopSharing().decide(view, at: Self.second)
    }

    @Test("A busy loop and an idle core -> half of the work, to the least busy loop")
    func busy() {
        let works = [Self.short, Self.none, Self.short, Self.short, Self.short]
        #expect(decision(view([900, 300, 0], works, idle: 1500)) == .spread([2, 3], to: 2))
    }

    @Test("A client with nearly all of the work -> it stays, and the others leave")
    func unequal() {
        let most = SessionWork(bytes: 99_000_000, receives: 9000)
        let little = SessionWork(bytes: 500_000, receives: 100)
        #expect(decision(view([900, 0], [little, most], idle: 1500)) == .spread([0], to: 1))
        #expect(decision(view([900, 0], [most, little], idle: 1500)) == .spread([1], to: 1))
        #expect(decision(view([900, 0], [little, most, little], idle: 1500)) == .spread([0, 2], to: 1))
    }

    @Test("A loop with some work already -> no more than brings it below the busy one")
    func partly() {
        let works = [40, 35, 25].map { SessionWork(bytes: $0 * 1_000_000, receives: 1000) }
        #expect(decision(view([900, 0], works, idle: 1500)) == .spread([1, 2], to: 1))
        #expect(decision(view([900, 400], works, idle: 1500)) == .spread([1], to: 1))
    }

    @Test("A busy loop and less than two cores, or nobody knows yet -> stay", arguments: [0, 400, nil] as [Int?])
    func noCore(_ idle: Int?) {
        for usable in [1000, 1999] {
            #expect(decision(view([1000, 0], [Self.short, Self.short], idle: idle, usable: usable)) == .stay)
        }
    }

    @Test("A busy loop and two cores that its clients take -> half of the work, since two loops are faster")
    func twoCores() {
        #expect(decision(view([500, 0], [Self.short, Self.short], idle: 0, usable: 2000)) == .spread([1], to: 1))
        #expect(decision(view([499, 0], [Self.short, Self.short], idle: 0, usable: 2000)) == .stay)
    }

    @Test("A busy loop with one active client, or where all others are busy -> stay")
    func noUse() {
        #expect(decision(view([1000, 0], [Self.short, Self.none], idle: 1000)) == .stay)
        #expect(decision(view([1000, 500], [Self.short, Self.short], idle: 1000)) == .stay)
        #expect(decision(view([600, 300], [Self.short, Self.short], idle: 1000)) == .stay)
        #expect(decision(view([600, 299], [Self.short, Self.short], idle: 1000)) == .spread([1], to: 1))
    }

    @Test("Loops that are held up -> get nothing, not even long batches or from loops on one core")
    func heldUp() {
        let works = [Self.short, Self.long, Self.short]
        #expect(decision(view([1000, 1000], works, idle: 0, usable: 1000)) == .stay)
        #expect(decision(view([1000, 1000, 900], works, idle: 1000)) == .spread([1], to: 2))
        #expect(decision(view(own: 1, [1000, 126], [Self.short], idle: 0, usable: 1000)) == .stay)
    }

    @Test("Long batches beside short ones -> they leave, even without an idle core")
    func mixed() {
        let works = [Self.short, Self.long, Self.short]
        #expect(decision(view([800, 0], works, idle: 0, usable: 1000)) == .spread([1], to: 1))
    }

    @Test("A loop with little to do -> its clients come to an earlier one, if that has room")
    func merge() {
        let works = [Self.short, Self.short]
        #expect(decision(view(own: 1, [150, 100], works, idle: 1000)) == .merge([0, 1], to: 0))
        #expect(decision(view(own: 1, [151, 100], works, idle: 1000)) == .stay)
        #expect(decision(view(own: 2, [200, 100, 100], works, idle: 1000)) == .merge([0, 1], to: 1))
        #expect(decision(view(own: 0, [100, 100], works, idle: 1000)) == .stay)
        #expect(decision(view(own: 1, [0, 100], works, idle: 1000)) == .stay)
    }

    @Test("Loops in each other's way on one core -> one of them, up to all that a core can do; not on two")
    func crowded() {
        let works = [Self.short, Self.short]
        for busy in [[450, 450], [300, 600]] {
            #expect(decision(view(own: 1, busy, works, idle: 0, usable: 1000)) == .merge([0, 1], to: 0))
        }
        #expect(decision(view(own: 1, [450, 450], works, idle: 0, usable: 2000)) == .stay)
        #expect(decision(view(own: 1, [450, 450], works, idle: 100, usable: 1000)) == .stay)
        #expect(decision(view(own: 1, [600, 600], works, idle: 0, usable: 1000)) == .stay)
    }

    @Test("Long batches -> never merged with short ones")
    func apart() {
        #expect(decision(view(own: 1, [100, 100], [Self.long], idle: 0) { $0[1].isLong = true }) == .stay)
        #expect(decision(view(own: 1, [100, 100], [Self.short], idle: 0) { $0[0].isLong = true }) == .stay)
    }

    @Test("A loop that rests, or where requests wait for buffers -> gets nothing; one that rests gives nothing")
    func closed() {
        let works = [Self.short, Self.short]
        for change: (inout LoopState) -> Void in [{ $0.isShort = true }, { $0.isResting = true }] {
            #expect(decision(view(own: 1, [100, 100], works, idle: 1000) { change(&$0[0]) }) == .stay)
            #expect(decision(view(own: 0, [900, 100], works, idle: 1000) { change(&$0[1]) }) == .stay)
            #expect(
                decision(view(own: 0, [900, 100, 200], works, idle: 1000) { change(&$0[1]) }) == .spread([1], to: 2))
        }
        #expect(decision(view(own: 1, [100, 100], works, idle: 1000) { $0[1].isResting = true }) == .stay)
    }

    @Test("Many sessions -> not merged beyond the limit, since they would share one loop's buffers")
    func many() {
        let works = Array(repeating: Self.short, count: 4)
        #expect(
            decision(view(own: 1, [100, 100], works, idle: 1000) { $0[0].sessions = 60 })
                == .merge([0, 1, 2, 3], to: 0))
        #expect(decision(view(own: 1, [100, 100], works, idle: 1000) { $0[0].sessions = 61 }) == .stay)
    }

    @Test("Requests of each receive -> whether the client sends several at once")
    func pipelined() {
        #expect(!SessionWork(bytes: 0, receives: 1000, requests: 1000).isPipelined)
        #expect(!SessionWork(bytes: 0, receives: 1000, requests: 1250).isPipelined)
        #expect(SessionWork(bytes: 0, receives: 1000, requests: 1251).isPipelined)
        #expect(!SessionWork().isPipelined)
    }

    @Test("Work comes back at once each time -> it is given away ever more rarely; what has not moved does not count")
    func rest() {
        var sharing = LoopSharing()
        let busy = view([1000, 0], [Self.short, Self.short], idle: 1000)
        var given: [UInt64] = []
        for tick in 1..<1000 {
            let now = UInt64(tick) * Self.second / 4
            guard sharing.decide(busy, at: now) != .stay, tick % 2 == 0 else { continue }
            given.append(now)
            sharing.didSpread(at: now)
        }
        let pauses = zip(given, given.dropFirst()).map { $1 - $0 }
        #expect(zip(pauses, pauses.dropFirst()).allSatisfy { $1 > $0 || $1 >= LoopSharing.longestRest })
        #expect(pauses.last! >= LoopSharing.longestRest)
        var other = LoopSharing()
        for tick in 1..<100 { #expect(other.decide(busy, at: UInt64(tick) * Self.second / 4) != .stay) }
        other.didSpread(at: 100 * Self.second)
        #expect(other.decide(busy, at: 100 * Self.second + LoopSharing.shortestRest - 1) == .stay)
        #expect(other.decide(busy, at: 100 * Self.second + LoopSharing.shortestRest) != .stay)
    }

    @Test("One loop that is claimed for a move -> rests with the other one, and neither is claimed again")
    func claim() {
        let rests = (0..<3).map { _ in LoopRest() }
        #expect(LoopRest.claim(rests[0], rests[1], at: 100, for: 50))
        #expect(!LoopRest.claim(rests[2], rests[1], at: 149, for: 50))
        #expect(!rests[2].isResting(at: 149))
        #expect(!LoopRest.claim(rests[0], rests[2], at: 149, for: 50))
        #expect(LoopRest.claim(rests[2], rests[1], at: 150, for: 50))
        #expect(rests[1].isResting(at: 199) && !rests[0].isResting(at: 150))
    }

    @Test(
        "Sixteen loops with little to do, at the same time -> merged, and never more to one loop than it has room for")
    func herd() {
        var site = SharedLoops(
            loops: 16, cores: 32, demand: Array(repeating: 50, count: 16), home: Array(0..<16))
        site.run(seconds: 60)
        #expect(site.mostWanted <= LoopSharing.merged, "\(site.busy)")
        #expect(site.used <= 5, "\(site.busy)")
        #expect(site.movesInLastSeconds(30) == 0)
    }

    @Test("Sixteen merged clients that ask for more -> within seconds each has what it needs")
    func awake() {
        var site = SharedLoops(loops: 16, cores: 32, demand: Array(repeating: 15, count: 16), home: Array(0..<16))
        site.run(seconds: 60)
        #expect(site.used == 1)
        site.demand = Array(repeating: 600, count: 16)
        site.run(seconds: 10)
        #expect(site.served >= 9000, "\(site.busy)")
    }

    @Test(
        "Clients on a machine with enough cores -> all are served, and nothing moves any more",
        arguments: [(1, 2), (4, 4), (4, 16), (16, 16), (64, 16), (200, 16)])
    func manyCores(clients: Int, cores: Int) {
        // Each client could use a third of a core; another third, and in all no more than `cores`, is its own work.
        var site = SharedLoops(loops: cores, cores: 2 * cores, demand: Array(repeating: 333, count: clients))
        site.run(seconds: 60)
        let wanted = min(clients * 333, cores * 1000)
        #expect(site.served >= wanted * 85 / 100, "\(site.busy)")
        #expect(site.movesInLastSeconds(20) == 0, "\(site.busy)")
    }

    @Test(
        "Clients that need all cores -> one loop on one core, two on two",
        arguments: [1, 2], [[0, 1, 0, 1], [0, 0, 0, 0]])
    func fewCores(_ cores: Int, _ home: [Int]) {
        var site = SharedLoops(loops: 2, cores: cores, demand: [333, 333, 333, 333], clientsTake: 900, home: home)
        site.run(seconds: 60)
        #expect(site.used == cores, "\(site.busy)")
        #expect(site.movesInLastSeconds(30) == 0)
    }
}
