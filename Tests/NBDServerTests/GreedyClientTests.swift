import Foundation
import NBDServer
import TestSupport
import Testing

/// Invariant 10: whatever a client does, memory is bounded and the others go on.
@Suite(.timeLimit(.minutes(10))) struct GreedyClientTests {
    @Test func aClientThatNeverReadsStopsNobody() async throws {
        try await TestServer.run(size: 4 << 20, loops: 1) { test in
            try await onThread {
                let greedy = try test.connect()
                try greedy.send((0..<1000).flatMap { Wished.read(0, 1 << 20, cookie: $0).bytes })
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

    @Test func clientsThatHoldAllBuffersAndStallAreLetGo() async throws {
        try await TestServer.run(size: 32 << 20, loops: 1) { test in
            try await onThread {
                let readers = try (0..<2).map { _ in try test.connect() }
                for reader in readers { try reader.send(Wished.read(0, 32 << 20).bytes) }
                let writers = try (0..<2).map { _ in try test.connect() }
                let header = Wished.write(0, [UInt8](repeating: 1, count: 32 << 20)).bytes.prefix(28 + 5)
                for writer in writers { try writer.send(Array(header)) }
                let client = try test.connect()
                let bytes = [UInt8](repeating: 9, count: 100_000)
                guard try client.perform(.write(0, bytes)).error == 0,
                    try client.perform(.read(0, 100_000)).bytes == bytes
                else { throw Unexpected("the client that behaves was not served") }
            }
        }
    }

    @Test func aClientThatReadsOnlyLaterGetsEverything() async throws {
        try await TestServer.run(contents: (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 >> 8) }) { test in
            let image = try test.image
            try await onThread {
                let slow = try test.connect()
                try slow.send((0..<400).flatMap { Wished.read(Int($0) * 100, 300_000, cookie: $0).bytes })
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
