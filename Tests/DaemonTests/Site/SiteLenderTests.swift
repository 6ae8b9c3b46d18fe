import Peer
import Testing

@testable import Daemon
@testable import Site

@Suite("Who may read images of this host")
struct SiteLenderTests {
    @Test("The certificate of the record, or the one before -> yes; another, no record, or none -> no")
    func members() {
        let (old, new, other) = ([1, 2, 3] as [UInt8], [4, 5] as [UInt8], [6] as [UInt8])
        let view = SiteView()
        func record(_ host: String, _ certificates: [[UInt8]]) -> HostRecord {
            HostRecord(
                host: host, address: "h:1", instance: 1, certificates: certificates.map(CertificateDigest.text),
                release: "1")
        }
        view.update(nil, [record("a", [new, old]), record("plain", [])])
        let lender = SiteLender(directory: "/nowhere", view: view)
        #expect(lender.isMember("a", .certificate(new)) && lender.isMember("a", .certificate(old)))
        #expect(!lender.isMember("a", .certificate(other)) && !lender.isMember("b", .certificate(new)))
        #expect(!lender.isMember("a", .address("127.0.0.1")) && !lender.isMember("plain", .certificate(new)))
        #expect(lender.isMember("plain", .address("127.0.0.1")))
    }
}
