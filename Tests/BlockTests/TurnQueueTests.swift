import TestSupport
import Testing

@testable import Block

@Suite struct TurnQueueTests {
    @Test func clientsHaveTurnsInRotation() {
        var queue = TurnQueue<Int, String>()
        for item in ["a1", "a2", "a3"] { queue.add(item, of: 1) }
        queue.add("b1", of: 2)
        #expect(queue.clientCount == 2 && queue.first == "a1")
        queue.rotate()
        #expect(queue.first == "b1")
        queue.add("c1", of: 3)
        queue.rotate()
        #expect(queue.first == "a1")
        #expect(queue.removeFirst() == "a2")
        queue.rotate()
        #expect(queue.first == "c1")
        #expect(queue.removeFirst() == nil)
        #expect(queue.first == "b1" && queue.clientCount == 2)
        #expect(queue.removeFirst() == nil)
        #expect(queue.removeFirst() == "a3")
        #expect(queue.removeFirst() == nil)
        #expect(queue.first == nil && queue.clientCount == 0)
    }

    @Test func itemsOfAClientComeOutOnceInOrder() {
        var random = Seeded.fresh()
        var queue = TurnQueue<Int, (client: Int, number: Int)>()
        var added = [Int](repeating: 0, count: 5)
        var taken = added
        for step in 0..<4000 {
            let client = Int.random(in: 0..<5, using: &random)
            if step < 3000, Bool.random(using: &random) {
                queue.add((client, added[client]), of: client)
                added[client] += 1
            } else if let first = queue.first {
                #expect(first.number == taken[first.client])
                guard Bool.random(using: &random) else {
                    queue.rotate()
                    continue
                }
                taken[first.client] += 1
                let next = queue.removeFirst()
                #expect(next.map { $0.client == first.client } ?? (taken[first.client] == added[first.client]))
            }
        }
        while let first = queue.first {
            taken[first.client] += 1
            _ = queue.removeFirst()
        }
        #expect(taken == added)
    }
}
