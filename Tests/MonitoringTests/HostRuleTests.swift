import PeerModel
import Testing

@testable import Monitoring

@Suite("Host headers")
struct HostRuleTests {
    @Test(
        "At a loopback address -> loopback addresses and own names, with any port",
        arguments: [
            ("127.0.0.1", true), ("127.0.0.1:9100", true), ("127.9.9.9", true), ("[::1]:80", true),
            ("localhost:1", true),
            ("LocalHost", true), ("localhost.", true), ("node.example:80", true), ("192.0.2.1", false),
            ("evil.example", false), ("127.0.0.1.evil.example", false), ("localhost.evil.example", false), ("", false),
            ("127.0.0.1:80@evil.example", false), ("[::1", false), ("[evil.example]", false), (":80", false),
            ("0.0.0.0", false), ("2130706433", false), ("localhost:8a", false),
        ])
    func loopback(_ header: String, _ isAllowed: Bool) {
        #expect(HostRule(.loopbackAndNames, names: ["Node.example"]).allows([header]) == isAllowed)
    }

    @Test("At another address, of a page -> any address, which can't be another site's name")
    func addresses() {
        let rule = HostRule(.addressesAndNames, names: ["node.example"])
        #expect(rule.allows(["192.0.2.1:8080"]) && rule.allows(["[2001:db8::1]"]) && rule.allows(["node.example"]))
        #expect(!rule.allows(["evil.example"]) && !rule.allows(["192.0.2.1.evil.example"]))
    }

    @Test("No header, or two -> refused, but at a Unix socket")
    func number() {
        #expect(!HostRule(.loopbackAndNames).allows([]))
        #expect(!HostRule(.loopbackAndNames).allows(["localhost", "localhost"]))
        #expect(HostRule(.any).allows([]))
    }

    @Test("Addresses as users write them -> read; a port alone is one of loopback")
    func addressesOfUsers() {
        #expect(MonitoringAddress("9100") == .tcp(PeerAddress(host: "127.0.0.1", port: 9100)))
        #expect(MonitoringAddress("[::1]:1") == .tcp(PeerAddress(host: "::1", port: 1)))
        #expect(MonitoringAddress("unix:/run/m.sock") == .unix(path: "/run/m.sock"))
        for text in ["", "unix:", "host", "host:", "host:70000", ":9100", "::1:80"] {
            #expect(MonitoringAddress(text) == nil, "\(text)")
        }
        #expect(MonitoringAddress("0.0.0.0:1")?.isLocal == false)
        #expect(MonitoringAddress("127.0.0.1:1")?.isLocal == true)
    }
}
