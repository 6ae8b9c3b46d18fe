import Testing

/// The model of a disk allows a read the values of any moment of it, and no others.
@Suite("The model of a disk")
struct DiskModelTests {
    private let world = World(seed: 1, isTracing: false)

    @Test("A read on its way over a crash and a later write -> it may find what the crash has left, and nothing else")
    func readOverACrash() {
        let model = DiskModel([1], world: world)
        model.beginWrite([2], at: 0)
        model.acknowledgeWrite([2], at: 0)
        let long = model.beginRead(0..<1)
        let other = model.beginRead(0..<1)
        model.crash()
        model.beginWrite([3], at: 0)
        model.acknowledgeWrite([3], at: 0)
        model.endRead(long, 0..<1, found: [1], "a read")
        #expect(world.violation == nil)
        model.endRead(other, 0..<1, found: [4], "a read")
        #expect(world.violation?.contains("[1, 2, 3] may be") == true)
    }

    @Test("A read that begins after the write -> the old value is a fault")
    func readAfterwards() {
        let model = DiskModel([1], world: world)
        model.beginWrite([2], at: 0)
        model.acknowledgeWrite([2], at: 0)
        model.endRead(model.beginRead(0..<1), 0..<1, found: [1], "a read")
        #expect(world.violation?.contains("found 1 in sector 0, where [2] may be") == true)
    }
}
