import Block
import TestSupport
import Testing

@testable import NBDServer

/// How the others see a loop that does not go on, and one that runs out of buffers.
@Suite(.timeLimit(.minutes(10))) struct HeldUpLoopTests {
    @Test("A loop that is held up in a batch -> full, and gets no sessions; idle again once it sleeps")
    func heldUp() async throws {
        try await TestServer.run(size: 8192, loops: 2) { test in
            let (server, loops) = (test.server, test.loops)
            let stop = LoopStop(loops[1]) { true }
            defer { stop.end() }
            try await onThread { stop.waitUntilReached() }
            try await eventually("it looks idle") { server.loops[1].state(at: 0).busy == 1000 }
            let view = LoopSharing.View(
                own: 0, loops: [LoopState(busy: 1000, sessions: 2), server.loops[1].state(at: 0)],
                works: [SessionWork(bytes: 1, receives: 1), SessionWork(bytes: 1 << 20, receives: 1)],
                cores: CoreState(usable: 2000, idle: 1000))
            #expect(LoopSharing().decide(view, at: WritePace.now()) == .stay)
            stop.end()
            try await eventually("it never looks idle again") { server.loops[1].state(at: 0).busy == 0 }
        }
    }

    @Test("Requests that wait for buffers -> the other loops see it at once, and when they wait no more")
    func short() async throws {
        try await TestServer.run(size: 32 << 20, loops: 1) { test in
            let loop = test.server.loops[0]
            #expect(!loop.state(at: 0).isShort)
            // Two readers fill the last share, and the third waits for it.
            let readers = try (0..<3).map { _ in try test.connect() }
            try await onThread {
                for reader in readers[..<2] {
                    try reader.send(ClientRequest.read(0, 32 << 20).bytes)
                    _ = try reader.receive(1)
                }
                try readers[2].send(ClientRequest.read(0, 32 << 20).bytes)
            }
            try await eventually("the others do not see it") { loop.state(at: 0).isShort }
            for reader in readers { reader.hangUp() }
            try await eventually("the others still see it") { !loop.state(at: 0).isShort }
        }
    }
}
