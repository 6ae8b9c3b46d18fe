import Foundation
import NBDServer
import TestSupport
import Testing

/// Invariant 10: whatever a client does, memory is bounded and other clients are served.
@Suite(.timeLimit(.minutes(10))) struct GreedyClientTests {
    @Test func aClientThatNeverReadsDelaysNoOtherClient() async throws {
        try await TestServer.run(size: 4 << 20, loops: 1) { test in
            try await onThread {
                let greedy = try test.connect()
                try greedy.send((0..<1000).flatMap { ClientRequest.read(0, 1 << 20, cookie: $0).bytes })
                let client = try test.connect()
                for number in 0..<50 {
                    let bytes = [UInt8](repeating: UInt8(number), count: 60_000)
                    guard try client.perform(.write(number * 10, bytes)).error == 0,
                        try client.perform(.read(number * 10, 60_000)).bytes == bytes
                    else { throw Unexpected("request \(number) failed") }
                }
            }
        }
    }

    @Test func stalledClientsWithAwaitedBuffersAreDisconnected() async throws {
        try await TestServer.run(size: 32 << 20, loops: 1) { test in
            try await onThread {
                let readers = try (0..<2).map { _ in try test.connect() }
                for reader in readers { try reader.send(ClientRequest.read(0, 32 << 20).bytes) }
                // A first byte shows that a reader has its buffer.
                for reader in readers { _ = try reader.receive(1) }
                let writers = try (0..<2).map { _ in try test.connect() }
                let header = ClientRequest.write(0, [UInt8](repeating: 1, count: 32 << 20)).bytes.prefix(28 + 5)
                for writer in writers { try writer.send(Array(header)) }
                let client = try Client(unix: test.socket, seconds: 60)
                try client.choose("disk")
                let bytes = [UInt8](repeating: 9, count: 3_000_000)
                guard try client.perform(.write(0, bytes)).error == 0,
                    try client.perform(.read(0, bytes.count)).bytes == bytes
                else { throw Unexpected("the client that behaves was not served") }
                for reader in readers {
                    do {
                        _ = try reader.receive(32 << 20)
                        throw Failed("a reader that took nothing got all")
                    } catch is Unexpected {}
                }
            }
        }
    }

    /// The paused client holds buffers of a share that nobody waits for.
    @Test func aPausedClientWithUnawaitedBuffersStays() async throws {
        try await TestServer.run(size: 32 << 20, loops: 1) { test in
            try await onThread {
                // All of them are less than a buffer of the last share.
                let (count, length) = (UInt64(15), 60_000)
                let paused = try test.connect()
                try paused.send((0..<count).flatMap { ClientRequest.read(0, length, cookie: $0).bytes })
                // A first reply shows that the server has begun; the socket takes a few more.
                guard try paused.reply().error == 0 else { throw Unexpected("the first read failed") }
                // Two readers fill the last share, and the third waits for it.
                let readers = try (0..<3).map { _ in try test.connect() }
                for reader in readers[..<2] {
                    try reader.send(ClientRequest.read(0, 32 << 20).bytes)
                    _ = try reader.receive(1)
                }
                try readers[2].send(ClientRequest.read(0, 32 << 20).bytes)
                // The third is served only after the server has looked for stalled clients.
                _ = try readers[2].receive(1)
                _ = try paused.receive(length)
                for _ in 1..<count {
                    guard try paused.reply().error == 0 else { throw Unexpected("a read failed") }
                    _ = try paused.receive(length)
                }
            }
        }
    }

    /// They read just enough not to count as stalled.
    @Test func slowReadersOfMuchDelayNoSmallRequests() async throws {
        try await withSlowReaders(6) { test in
            let client = try test.connect()
            for number in 0..<20 {
                let bytes = [UInt8](repeating: UInt8(number), count: 1_000_000)
                guard try client.perform(.write(number * 10, bytes)).error == 0,
                    try client.perform(.read(number * 10, bytes.count)).bytes == bytes
                else { throw Unexpected("request \(number) failed") }
            }
        }
    }

    /// After a long wait, large requests continue in small pieces.
    @Test func slowReadersDelayLargeRequestsForALimitedTime() async throws {
        try await withSlowReaders(6) { test in
            // Even three such waits end before the readers in front have been served.
            let client = try Client(unix: test.socket, seconds: 30)
            try client.choose("disk")
            let bytes = (0..<9_000_001).map { UInt8(truncatingIfNeeded: $0 >> 9) }
            guard try client.perform(.write(5, bytes)).error == 0 else { throw Unexpected("the write failed") }
            let other = try Client(unix: test.socket, seconds: 30)
            try other.choose("disk")
            // The longest request is served in pieces anyhow; they become smaller.
            try other.send(ClientRequest.read(0, 40 << 20, cookie: 3).bytes)
            try client.send(
                ClientRequest.read(5, bytes.count, cookie: 1).bytes + ClientRequest.read(6, 2, cookie: 2).bytes)
            var heard: Set<UInt64> = []
            for _ in 0..<2 {
                let (cookie, error) = try client.reply()
                heard.insert(cookie)
                let wanted = cookie == 1 ? bytes[...] : bytes[1..<3]
                guard error == 0, try client.receive(wanted.count) == Array(wanted) else {
                    throw Unexpected("read \(cookie): \(error)")
                }
            }
            guard heard == [1, 2], try other.reply() == (3, 0),
                try other.receive(40 << 20)[5..<5 + bytes.count] == bytes[...]
            else { throw Unexpected("other bytes") }
        }
    }

    /// Runs `body` with a server whose clients each take more than a minute to read 32 MiB.
    private func withSlowReaders(_ count: Int, _ body: @escaping @Sendable (TestServer) throws -> Void) async throws {
        try await TestServer.run(size: 40 << 20, loops: 1) { test in
            // The readers must not time out while they wait for the buffers of the first.
            let readers = try (0..<count).map { _ in try Client(unix: test.socket, seconds: 300) }
            for reader in readers {
                try reader.choose("disk")
                try reader.send(ClientRequest.read(0, 32 << 20).bytes)
            }
            async let result: Void = onThread {
                defer { for reader in readers { shutdown(reader.socket, CInt(SHUT_RDWR)) } }
                try body(test)
            }
            try await onThreads(count) { index in
                // The loop ends when `body` has ended and the reader is disconnected.
                while (try? readers[index].receive(40_000)) != nil { usleep(100_000) }
            }
            try await result
        }
    }

    @Test func aClientThatReadsLateGetsEveryReply() async throws {
        try await TestServer.run(contents: (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 >> 8) }) { test in
            let image = try test.image
            try await onThread {
                let slow = try test.connect()
                try slow.send((0..<400).flatMap { ClientRequest.read(Int($0) * 100, 300_000, cookie: $0).bytes })
                let other = try test.connect()
                for _ in 0..<100 { _ = try other.perform(.read(0, 100_000)) }
                for _ in 0..<400 {
                    let (cookie, error) = try slow.reply()
                    let start = Int(cookie) * 100
                    guard error == 0, try slow.receive(300_000) == Array(image[start..<start + 300_000])
                    else {
                        throw Unexpected("read \(cookie): \(error)")
                    }
                }
            }
        }
    }
}

/// A result that a client must not get.
private struct Failed: Error {
    let complaint: String

    init(_ complaint: String) { self.complaint = complaint }
}
