import Testing

@testable import NBDServer

@Suite("Reserved descriptors")
struct DescriptorReserveTests {
    @Test(
        "As descriptors run out, clients are refused first, then migrations, then peers; control keeps some",
        arguments: [64, 256, 1024, 6144, 1 << 20, UInt64.max])
    func order(limit: UInt64) {
        let reserve = DescriptorReserve(limit: limit)
        #expect(0 < reserve.clients)
        #expect(reserve.clients < reserve.migrations)
        #expect(reserve.migrations < reserve.peers)
        #expect(UInt64(reserve.peers) + 8 <= limit)
    }

    @Test("The lowest free descriptor is what the kernel gives next")
    func lowestFree() {
        #expect(DescriptorReserve.lowestFree >= 3)
        #expect(DescriptorReserve.lowestFree < DescriptorReserve.current.clients)
    }
}
