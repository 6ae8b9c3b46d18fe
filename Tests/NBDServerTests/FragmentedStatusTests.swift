import Foundation
import NBD
import NBDServer
import TestSupport
import Testing

@testable import Block

/// Block statuses of a heavily fragmented image: each needs thousands of looks at the file.
@Suite(.timeLimit(.minutes(10))) struct FragmentedStatusTests {
    private static let blocks = 9000
    private static let size = blocks * 4096
    private static let pending = 120

    /// Fills every other block of the image.
    private func fragment(_ test: TestServer) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: test.scratch.file("disk.raw")))
        for number in stride(from: 1, to: Self.blocks, by: 2) {
            try file.seek(toOffset: UInt64(number * 4096))
            try file.write(contentsOf: [UInt8](repeating: 7, count: 4096))
        }
        try file.synchronize()
    }

    private func connect(_ test: TestServer) throws -> Client {
        let client = try Client(unix: test.socket, seconds: 60)
        try client.negotiate("disk", .structured)
        return client
    }

    private func askForMuch(_ client: Client) throws {
        let wishes = (0..<Self.pending).map {
            ClientRequest(type: ClientRequest.status, length: UInt64(Self.size), cookie: UInt64($0))
        }
        try client.send(wishes.flatMap { $0.bytes(.structured) })
    }

    @Test func statusesOfAClosedConnectionGetNoLook() async throws {
        try await TestServer.run(size: Self.size) { test in
            try fragment(test)
            try await onThread {
                let greedy = try (0..<4).map { _ in try connect(test) }
                for each in greedy {
                    try askForMuch(each)
                    // An answer shows that the server works on all of it.
                    _ = try each.receiveReply { _ in 0 }
                }
                for each in greedy { each.hangUp() }
                guard try connect(test).ask(.read(0, 100)).error == 0 else { throw Unexpected("not served") }
            }
            try await test.waitUntilIdle()
            // Each status has as many extents as a reply takes, at two a look.
            let all = 4 * Self.pending * 2046
            #expect(test.device.statuses.looks < all / 4)
        }
    }

    /// A client that has only closed its sending half is not taken for one that is gone.
    @Test func statusesOfAHalfClosedConnectionAreAllAnswered() async throws {
        try await TestServer.run(size: Self.size) { test in
            try fragment(test)
            let greedy = try await onThread {
                let greedy = try connect(test)
                try askForMuch(greedy)
                shutdown(greedy.socket, CInt(SHUT_WR))
                return greedy
            }
            // It reads all the time: a client that does not, and holds buffers for which another waits, is disconnected.
            async let answers = onThread { try (0..<Self.pending).map { _ in try greedy.receiveReply { _ in 0 } } }
            try await onThread {
                guard try connect(test).ask(.read(0, 100)).error == 0 else { throw Unexpected("not served") }
            }
            let heard = try await answers
            #expect(Set(heard.map(\.cookie)) == Set(0..<UInt64(Self.pending)))
            #expect(heard.allSatisfy { $0.error == 0 && $0.extents.first!.length == 4096 })
        }
    }

    @Test func aStatusIsAnsweredBeforeTheMassOfAnotherClient() async throws {
        try await TestServer.run(size: Self.size, loops: 1) { test in
            try fragment(test)
            let order = try await onThread {
                let (greedy, other) = (try connect(test), try connect(test))
                try askForMuch(greedy)
                // The first answer shows that the server has read all requests.
                _ = try greedy.receiveReply { _ in 0 }
                let before = test.device.statuses.looks
                guard try other.ask(ClientRequest(type: ClientRequest.status, length: UInt64(Self.size))).error == 0
                else {
                    throw Unexpected("not served")
                }
                return test.device.statuses.looks - before
            }
            // Each status got about one turn; full answers would need many times as much.
            #expect(order < Self.pending * 2046 / 2)
        }
    }
}
