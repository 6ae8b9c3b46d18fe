import MigrationCore
import MigrationProtocol
import Testing

@Suite("Beginnings and ends of channels, as their listener hears of them")
struct ChannelOrderTests {
    @Test("A beginning that comes after its own end, or after a later one -> not up; each channel by itself")
    func lateBeginning() {
        var order = ChannelOrder()
        #expect(order.isUp(0, of: .bulk) && order.isUp(3, of: .bulk))
        order.down(3, of: .bulk)
        #expect(!order.isUp(3, of: .bulk) && !order.isUp(0, of: .bulk))
        #expect(order.isUp(4, of: .bulk) && order.isUp(0, of: .demand))
        order.down(1, of: .bulk)
        #expect(!order.isUp(3, of: .bulk))
    }
}
