import Testing

@testable import NBDServer

@Suite struct MoveGateTests {
    @Test("A held gate -> no move begins, and it is clear once those under way have ended")
    func held() {
        let gate = MoveGate()
        #expect(gate.isClear)
        #expect(gate.begin())
        gate.hold()
        #expect(!gate.isClear)
        #expect(!gate.begin())
        gate.end()
        #expect(gate.isClear)
        #expect(gate.count == 1)
        gate.hold()
        gate.release()
        #expect(!gate.begin(), "somebody still holds it")
        gate.release()
        #expect(gate.begin())
    }
}
