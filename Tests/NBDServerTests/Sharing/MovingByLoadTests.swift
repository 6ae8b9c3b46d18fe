import Glibc
import TestSupport
import Testing

@testable import NBDServer

/// Sessions that move by the load of their loops, and not because a test marks them.
@Suite(.timeLimit(.minutes(10))) struct MovingByLoadTests {
    @Test("Two loops with little to do -> one of them serves both clients, and every byte is right")
    func little() async throws {
        try await TestServer.run(size: 1 << 20, loops: 2, placement: .byLoad) { test in
            let clients = try (0..<2).map { _ in try test.connect() }
            let end = ContinuousClock.now + .seconds(120)
            try await onThreads(2) { index in
                var round = 0
                // They go on for a while after the move.
                var left = 100
                while left > 0, ContinuousClock.now < end {
                    try Self.writeAndRead(clients[index], at: index << 19, round)
                    round += 1
                    if test.server.gate.count > 0 { left -= 1 }
                    usleep(5000)
                }
            }
            #expect(test.server.gate.count > 0)
            let sessions = await test.loops[0].perform { test.server.loops[0].sessions.count }
            #expect(sessions == 2)
            for client in clients { client.hangUp() }
        }
    }

    private static func writeAndRead(_ client: Client, at offset: Int, _ round: Int) throws {
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 4096)
        let place = offset + round % 16 * 4096
        guard try client.perform(.write(place, bytes)).error == 0, try client.perform(.read(place, 4096)).bytes == bytes
        else { throw Unexpected("wrong bytes in round \(round)") }
    }
}
