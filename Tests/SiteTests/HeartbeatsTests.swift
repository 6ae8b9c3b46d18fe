import Testing

@testable import Site

@Suite("Heartbeats")
struct HeartbeatsTests {
    private func record(_ host: String, _ beat: UInt64, instance: UInt64 = 1) -> HostRecord {
        HostRecord(host: host, address: "h:1", instance: instance, beat: beat, certificates: [], release: "1")
    }

    @Test("Beats that go on -> alive; none for a minute -> gone; again -> alive")
    func beats() {
        var heartbeats = Heartbeats()
        let start = ContinuousClock.now
        func look(_ beat: UInt64, after seconds: Int) -> Bool {
            heartbeats.look(at: [record("a", beat)], now: start + .seconds(seconds))
            return heartbeats.isAlive("a") == true
        }
        #expect(heartbeats.isAlive("a") == nil)
        #expect(look(1, after: 0) && look(1, after: 59) && !look(1, after: 60) && !look(1, after: 61))
        #expect(look(2, after: 62))
    }

    @Test("A new process with the old number -> alive; a record that is gone -> unknown")
    func instances() {
        var heartbeats = Heartbeats()
        let start = ContinuousClock.now
        heartbeats.look(at: [record("a", 1)], now: start)
        heartbeats.look(at: [record("a", 1, instance: 2)], now: start + .seconds(100))
        #expect(heartbeats.isAlive("a") == true)
        heartbeats.look(at: [], now: start + .seconds(101))
        #expect(heartbeats.isAlive("a") == nil)
    }

    @Test(
        "Names of hosts",
        arguments: [
            ("a", true), ("host-1.example_2", true), ("", false), ("..", false), (".a", false), ("-a", false),
            ("a/b", false),
            ("ä", false), (String(repeating: "a", count: 64), true), (String(repeating: "a", count: 65), false),
        ])
    func names(_ name: String, isValid: Bool) { #expect(HostName.isValid(name) == isValid) }
}
