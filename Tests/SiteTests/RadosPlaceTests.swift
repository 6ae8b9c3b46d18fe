import Testing

@testable import Rados

@Suite("Places in RADOS")
struct RadosPlaceTests {
    @Test("rados:POOL and rados:POOL/NAMESPACE -> read; others -> refused")
    func places() {
        #expect(RadosPlace("rados:vms") == RadosPlace(pool: "vms", namespace: ""))
        #expect(RadosPlace("rados:vms/site")?.description == "rados:vms/site")
        for text in ["vms", "rados:", "rados:/a", "rados:a/", "rados:a/b/c", "rados:a b", "rados:a@b", "rados:a:b"] {
            #expect(RadosPlace(text) == nil, "\(text)")
        }
    }

    @Test("CEPH_ARGS -> the user that it names")
    func users() {
        #expect(RadosPlace.user(arguments: nil) == "client.admin")
        #expect(RadosPlace.user(arguments: "--conf x --id site") == "client.site")
        #expect(RadosPlace.user(arguments: "--name=client.b") == "client.b")
        #expect(RadosPlace.user(arguments: "--id") == "client.admin")
    }
}
