import Testing

@testable import MigrationCore
@testable import MigrationProtocol
@testable import PeerModel

@Suite("When a link tries its destination's successor")
struct SuccessorSearchTests {
    private let middle = PeerAddress(host: "192.0.2.1", port: 1)
    private let last = Successor(address: PeerAddress(host: "192.0.2.2", port: 1), mayRepeat: true)

    @Test("At once, then ever more seldom, and never not at all")
    func seldom() {
        var search = SuccessorSearch()
        var now = ContinuousClock.now
        #expect(search.wait(at: now) == nil)
        #expect(search.heard(last, from: middle) == true)
        #expect(search.wait(at: now) == .zero)
        var waits: [Duration] = []
        for attempt in 0..<10 {
            search.began(at: now)
            #expect(search.failed("closed", for: last, at: now) == (attempt == 0), "it is news once")
            let wait = search.wait(at: now)!
            waits.append(wait)
            now += wait
        }
        #expect(waits == waits.sorted() && waits.first == .seconds(1) && waits.last == SuccessorSearch.longestDelay)
        #expect(search.heard(last, from: middle) == false, "no news, and no reason to try sooner")
        #expect(search.wait(at: now) == .zero && search.problem == "closed")
    }

    @Test("Invariant 10: a destination that names one after the other is followed once a second at most")
    func spam() {
        var search = SuccessorSearch()
        let now = ContinuousClock.now
        for port in 1..<UInt16(100) {
            let next = Successor(address: PeerAddress(host: "192.0.2.3", port: port), mayRepeat: true)
            #expect(search.heard(next, from: middle) == true)
            if port == 1 { search.began(at: now) } else { #expect(search.wait(at: now) == .seconds(1)) }
        }
        #expect(search.failed("closed", for: last, at: now) == false)
        #expect(search.problem == nil, "it was about an earlier one")
    }

    @Test("A node does not succeed itself")
    func itself() {
        var search = SuccessorSearch()
        #expect(search.heard(last, from: middle) == true)
        #expect(search.heard(Successor(address: middle, mayRepeat: true), from: middle) == false)
        #expect(search.wait(at: .now) == nil)
    }

    @Test("Addresses that can't be meant are not tried")
    func addresses() {
        func problem(_ host: String, _ port: UInt16 = 9, from destination: String = "192.0.2.1") -> String? {
            Successor(address: PeerAddress(host: host, port: port), mayRepeat: true).problem(
                from: PeerAddress(host: destination, port: 9))
        }
        for host in ["", "a b", "x\n", "\u{1b}[2J", "é", "a/b", String(repeating: "x", count: 256)] {
            #expect(problem(host)?.contains("malformed") == true)
        }
        #expect(problem("192.0.2.2", 0) != nil)
        #expect(problem("127.0.0.1") != nil && problem("localhost") != nil, "that is another machine there")
        #expect(problem("127.0.0.1", from: "127.0.0.1") == nil)
        #expect(problem("node-c.example") == nil && problem("fe80::1%eth0") == nil)
    }
}
