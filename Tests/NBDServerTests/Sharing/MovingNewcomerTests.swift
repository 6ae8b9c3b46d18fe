import Dispatch
import Glibc
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import NBDServer

/// Newcomers that look for given-up connections (invariant 9) just when a session is about to move. The loops are stopped at
/// the moments that matter.
@Suite(.timeLimit(.minutes(10))) struct MovingNewcomerTests {
    @Test("A session about to move to a loop that has answered a newcomer -> it stays, and the newcomer waits for it")
    func aboutToMove() async throws {
        try await TestServer.run(size: 8192, loops: 3) { test in
            // Clients come to loops 0, 1, 2 in turn. Loop 0 accepts them, and the newcomer comes to it, too.
            let first = try test.connect()
            let old = try test.connect()
            let third = try test.connect()
            let (server, loops) = (test.server, test.loops)
            // From its first request on the session receives, so that it moves after the next one.
            _ = try old.perform(.read(0, 1))
            await loops[1].perform { Mover.mark(server, 1, to: 2) }
            let giver = LoopStop(loops[1]) {
                server.loops[1].sessions.values.contains {
                    $0.pendingMove != nil && $0.awaitsBatchEnd && $0.isBetweenRequests
                }
            }
            defer { giver.end() }
            try await onThread {
                try old.send(ClientRequest.read(0, 1).bytes)
                giver.waitUntilReached()
                // The client gives its connection up with a write that the server has not received yet.
                try old.send(ClientRequest.write(0, [1]).bytes)
                shutdown(old.socket, CInt(SHUT_WR))
            }
            let new = try await onThread { try test.connect() }
            // Every loop has been asked by now. Loop 2 answers before the session could come, and then can't take it.
            await loops[2].perform {}
            let taker = LoopStop(loops[2]) { true }
            defer { taker.end() }
            try await onThread {
                taker.waitUntilReached()
                try new.send(ClientRequest.write(0, [2]).bytes)
            }
            try await test.runLoops([0], times: 100)
            #expect(new.hasReadAll, "loop 1 has not answered yet")
            giver.end()
            try await onThread { guard try new.reply().error == 0 else { throw Unexpected("the write failed") } }
            taker.end()
            for client in [first, third, new] { client.hangUp() }
            // The server ends a connection that was given up, so that this includes the old one.
            try await eventually("sessions are left") { server.connectionCount == 0 }
            #expect(try test.image[0] == 2, "the old write came after the newcomer's")
            #expect(server.gate.count == 0)
        }
    }

    @Test("A move that began before the question -> no loop is asked until the session's loop has passed it on")
    func underWay() async throws {
        try await TestServer.run(size: 8192, loops: 3) { test in
            let (server, loops) = (test.server, test.loops)
            let isInPlace = NIOLockedValueBox(false)
            let giver = LoopStop(loops[1]) { server.gate.begin() }
            defer { giver.end() }
            try await onThread { giver.waitUntilReached() }
            await loops[0].perform {
                server.gate.hold()
                server.loops[0].whenInPlace { isInPlace.withLockedValue { $0 = true } }
            }
            try await test.runLoops([0, 2], times: 100)
            #expect(!isInPlace.withLockedValue { $0 })
            giver.end()
            try await eventually("the question is never asked") { isInPlace.withLockedValue { $0 } }
            server.gate.end()
            server.gate.release()
        }
    }
}
