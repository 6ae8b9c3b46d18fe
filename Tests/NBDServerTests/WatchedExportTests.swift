import Block
import Foundation
import NBDServer
import NIOConcurrencyHelpers
import TestSupport
import Testing

/// Exports that are examined before a client is told about them.
@Suite(.timeLimit(.minutes(10))) struct WatchedExportTests {
    /// A watcher that answers when the test says so.
    private final class SlowWatcher: ExportWatcher {
        let waiting = NIOLockedValueBox<[@Sendable (String?) -> Void]>([])

        func look(then done: @escaping @Sendable (String?) -> Void) { waiting.withLockedValue { $0.append(done) } }

        func answer(_ refusal: String?) {
            let all = waiting.withLockedValue { list in
                defer { list = [] }
                return list
            }
            for done in all { done(refusal) }
        }

        var count: Int { waiting.withLockedValue { $0.count } }
    }

    private func run(_ body: (TestServer, SlowWatcher) async throws -> Void) async throws {
        try await TestServer.run(loops: 1) { test in
            let watcher = SlowWatcher()
            let watched = Export(name: "slow", disk: test.disk, isReadOnly: false)
            watched.watch(with: watcher)
            _ = test.exports.add(watched)
            try await body(test, watcher)
        }
    }

    /// A client that has asked for the export.
    private func ask(_ test: TestServer, _ watcher: SlowWatcher) async throws -> Client {
        let before = watcher.count
        let client = try Client(unix: test.socket)
        let name = Array("slow".utf8)
        try client.send([0, 0, 0, 3] + Array("IHAVEOPT".utf8) + [0, 0, 0, 1, 0, 0, 0, UInt8(name.count)] + name)
        try await eventually("nobody looks") { watcher.count == before + 1 }
        return client
    }

    /// Whether the server hangs up after its greeting.
    private func hearsNothing(_ client: Client) async throws -> Bool {
        try await onThread {
            _ = try client.receive(18)
            return client.isAtEnd()
        }
    }

    @Test("A slow examination delays only clients of that export")
    func slow() async throws {
        try await run { test, watcher in
            let waiting = try await ask(test, watcher)
            try await onThread {
                let other = try test.connect()
                guard try other.perform(.read(0, 1)).error == 0 else { throw Unexpected("no read") }
            }
            watcher.answer(nil)
            // Greeting, size, flags.
            let answer = try await onThread { try waiting.receive(18 + 10) }
            #expect(answer.dropFirst(18).prefix(8) == [0, 0, 0, 0, 0, 0x10, 0, 0])
            waiting.hangUp()
        }
    }

    @Test("A refused client is disconnected, and so is one that leaves during the examination")
    func ended() async throws {
        try await run { test, watcher in
            let refused = try await ask(test, watcher)
            watcher.answer("not now")
            #expect(try await hearsNothing(refused))
            let gone = try await ask(test, watcher)
            gone.hangUp()
            watcher.answer(nil)
            try await test.waitUntilIdle()
        }
    }

    @Test("A server stops during an examination, and the late answer has no effect")
    func stop() async throws {
        var watcher: SlowWatcher?
        var client: Client?
        try await run { test, slow in
            watcher = slow
            client = try await ask(test, slow)
        }
        watcher?.answer(nil)
        let left = try #require(client)
        #expect(try await hearsNothing(left))
    }
}
