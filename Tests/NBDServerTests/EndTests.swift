import Block
import Foundation
import NBDServer
import Ring
import TestSupport
import Testing

/// Connections end in every way, and nothing of them remains.
@Suite(.timeLimit(.minutes(10))) struct EndTests {
    @Test func requestsBeforeADisconnectAreAnswered() async throws {
        try await TestServer.run { test in
            let client = try test.connect()
            try await begin(20, on: client, of: test, then: [ClientRequest(type: ClientRequest.disconnect)])
            await test.disk.unfence()
            let answered = try await onThread {
                let cookies = try (0..<20).map { _ in try client.reply().cookie }
                return client.isAtEnd() ? Set(cookies) : []
            }
            #expect(answered == Set(0..<20))
            try await test.waitUntilIdle()
        }
    }

    @Test func killingAClientWithRequestsInFlightLeaksNothing() async throws {
        try await TestServer.run { test in
            let client = try test.connect()
            try await begin(20, on: client, of: test)
            client.hangUp()
            let connected = test.server.connectionCount
            await test.disk.unfence()
            try await test.waitUntilIdle()
            // The memory of requests in flight must stay, and with it the connection.
            #expect(connected == 1)
            #expect(try test.image.prefix(20 * 100).allSatisfy { $0 == 1 })
        }
    }

    @Test(arguments: [1, 27, 28, 29, 20_000, 99_999]) func killingAClientInAPayloadWritesNothing(sent: Int)
        async throws
    {
        try await TestServer.run { test in
            let client = try test.connect()
            let write = ClientRequest.write(0, [UInt8](repeating: 1, count: 100_000)).bytes
            try await onThread { try client.send(Array(write[..<sent])) }
            client.hangUp()
            try await test.waitUntilIdle()
            #expect(try test.image.allSatisfy { $0 == 0 })
        }
    }

    /// The replies fill the connection's room, so they are sent while requests are still being parsed.
    @Test(arguments: [1, 32 << 10, 64 << 10]) func aClientThatLeavesUnreadRepliesLeaksNothing(length: Int)
        async throws
    {
        try await TestServer.run(loops: 1) { test in
            let client = try test.connect()
            // The server reads the requests after the client has gone.
            let gate = await hold(test.loops[0])
            try await onThread {
                try client.send((0..<500).flatMap { ClientRequest.read(0, length, cookie: $0).bytes })
            }
            client.hangUp()
            gate.signal()
            try await test.waitUntilIdle()
        }
    }

    @Test(
        arguments: [
            [], [0, 0, 0], [0, 0, 0, 3], [0, 0, 0, 3] + Array("IHAVEOPT".utf8), [255, 255, 255, 255],
        ]
            as [[UInt8]])
    func aClientThatLeavesInTheHandshakeLeavesNothing(said: [UInt8]) async throws {
        try await TestServer.run { test in
            try await onThread {
                let client = try Client(unix: test.socket)
                try client.send(said)
                client.hangUp()
                let other = try test.connect()
                guard try other.perform(.read(0, 1)).error == 0 else { throw Unexpected("no read") }
            }
            try await test.waitUntilIdle()
        }
    }

    @Test func aHalfOpenConnectionDelaysNoOtherClient() async throws {
        try await TestServer.run(loops: 1) { test in
            try await onThread {
                let silent = try Client(unix: test.socket)
                let halfHeader = try test.connect()
                try halfHeader.send(Array(ClientRequest.read(0, 1).bytes[..<13]))
                let halfPayload = try test.connect()
                try halfPayload.send(
                    Array(ClientRequest.write(0, [UInt8](repeating: 1, count: 1 << 20)).bytes[..<5000]))
                let halfClosed = try test.connect()
                shutdown(halfClosed.socket, CInt(SHUT_WR))
                let client = try test.connect()
                for number in 0..<50 {
                    let written = try client.perform(
                        .write(number * 4096, [UInt8](repeating: 9, count: 4096)))
                    let read = try client.perform(.read(number * 4096, 4096))
                    guard written.error == 0, read.bytes.allSatisfy({ $0 == 9 }) else {
                        throw Unexpected("request \(number) failed")
                    }
                }
                for client in [silent, halfHeader, halfPayload, halfClosed, client] { client.hangUp() }
            }
            try await test.waitUntilIdle()
        }
    }

    @Test func aRequestWithoutMagicEndsTheConnection() async throws {
        try await TestServer.run { test in
            let ended = try await onThread {
                let client = try test.connect()
                try client.send([UInt8](repeating: 0x25, count: 28))
                return client.isAtEnd()
            }
            #expect(ended)
            try await test.waitUntilIdle()
        }
    }

    @Test func garbageAfterTheHandshakeEndsOnlyThatConnection() async throws {
        var random = Seeded.fresh()
        let garbage = (0..<100).map { _ in
            random.chance(50) ? be(UInt32(0x2560_9513)) + random.bytes(200) : random.bytes(50)
        }
        try await TestServer.run { test in
            try await onThread {
                let steady = try test.connect()
                for bytes in garbage {
                    let client = try test.connect()
                    try? client.send(bytes)
                    client.hangUp()
                    guard try steady.perform(.read(0, 100)).error == 0 else { throw Unexpected("no read") }
                }
                steady.hangUp()
            }
            try await test.waitUntilIdle()
        }
    }

    @Test func aThousandConnectionsLeakNothing() async throws {
        try await TestServer.run { test in
            try await onThreads(4) { _ in
                for number in 0..<250 {
                    let client = try test.connect()
                    if number % 2 == 0 { _ = try client.perform(.read(0, 4096)) }
                    if number % 3 == 0 { try client.send(ClientRequest(type: ClientRequest.disconnect).bytes) }
                    client.hangUp()
                }
            }
            try await test.waitUntilIdle()
        }
    }

    @Test func stopFinishesRequestsInFlight() async throws {
        try await TestServer.run { test in
            let client = try test.connect()
            try await begin(20, on: client, of: test)
            async let stopped: Void = test.server.stop()
            try await eventually("the socket is still there") { access(test.socket, F_OK) != 0 }
            await test.disk.unfence()
            let answered = try await onThread {
                let cookies = try (0..<20).map { _ in try client.reply().cookie }
                return client.isAtEnd() ? Set(cookies) : []
            }
            await stopped
            #expect(answered == Set(0..<20))
            #expect(test.server.connectionCount == 0)
            #expect(try test.image.prefix(20 * 100).allSatisfy { $0 == 1 })
        }
    }

    @Test func acknowledgedWritesAreInTheImageAfterAStop() async throws {
        try await TestServer.run { test in
            let client = try test.connect()
            let first = DispatchSemaphore(value: 0)
            async let sent: Void = onThread {
                // The server stops somewhere among these; it need not serve all of them.
                for number in 0..<1000 {
                    let write = ClientRequest.write(
                        number * 1000, [UInt8](repeating: 1, count: 1000), cookie: UInt64(number))
                    guard (try? client.send(write.bytes)) != nil else { return }
                }
            }
            async let answered = onThread {
                var cookies: Set<UInt64> = []
                while let reply = try? client.reply() {
                    if reply.error == 0 { cookies.insert(reply.cookie) }
                    first.signal()
                }
                return cookies
            }
            try await onThread { first.wait() }
            await test.server.stop()
            let cookies = try await answered
            try await sent
            let image = try test.image
            #expect(!cookies.isEmpty)
            for cookie in cookies {
                let start = Int(cookie) * 1000
                #expect(image[start..<start + 1000].allSatisfy { $0 == 1 })
            }
        }
    }

    /// Invariant 9: a write of a given-up connection does not overwrite a later one of the same client.
    @Test func aGivenUpWriteDoesNotOverwriteALaterOne() async throws {
        try await TestServer.run(size: 8192) { test in
            // Connections are distributed over the loops in turn: the second one waits.
            let first = try test.connect()
            let old = try test.connect()
            let gate = await hold(test.loops[1])
            try await onThread { try old.send(ClientRequest.write(0, [UInt8](repeating: 1, count: 4096)).bytes) }
            old.hangUp()
            async let acknowledged = onThread {
                let new = try Client(unix: test.socket)
                try new.choose("disk")
                return try new.perform(.write(0, [UInt8](repeating: 2, count: 4096))).error == 0
            }
            // A server that does the old requests first answers only after the gate has opened.
            try await Task.sleep(for: .milliseconds(300))
            gate.signal()
            let isAcknowledged = try await acknowledged
            #expect(isAcknowledged)
            first.hangUp()
            try await test.waitUntilIdle()
            let image = try test.image
            #expect(image.prefix(4096).allSatisfy { $0 == 2 })
        }
    }

    /// Blocks a loop until the result is signalled.
    private func hold(_ loop: EventLoop) async -> DispatchSemaphore {
        let gate = DispatchSemaphore(value: 0)
        await withCheckedContinuation { continuation in
            loop.post {
                continuation.resume()
                gate.wait()
            }
        }
        return gate
    }

    /// Fences the disk and lets the server begin `count` writes of 100 bytes, which then wait.
    private func begin(
        _ count: Int, on client: Client, of test: TestServer, then more: [ClientRequest] = []
    ) async throws {
        await test.disk.fence()
        try await onThread {
            let writes = (0..<count).map { number in
                ClientRequest.write(number * 100, [UInt8](repeating: 1, count: 100), cookie: UInt64(number))
            }
            try client.send(writes.flatMap(\.bytes))
            // A refusal needs no disk: its reply shows that the writes before it have begun.
            let refused = try client.perform(ClientRequest(type: 99))
            guard refused.error == 22 else { throw Unexpected("\(refused)") }
            try client.send(more.flatMap(\.bytes))
        }
    }
}
