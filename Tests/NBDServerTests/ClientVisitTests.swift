import Foundation
import NBDServer
import TestSupport
import Testing

@Suite("Clients that come, go or are refused")
struct ClientVisitTests {
    /// Runs a client, and waits until the server has said so much of it.
    private func notes(of client: @escaping @Sendable (TestServer) throws -> Void, count: Int) async throws -> [String]
    {
        var notes: [String] = []
        try await TestServer.run { test in
            try await onThread { try client(test) }
            try await waitUntil("\(count) notes") { test.clients.all.count >= count }
            notes = test.clients.all
        }
        return notes
    }

    @Test("A client that disconnects -> its coming and its going")
    func disconnect() async throws {
        let notes = try await notes(
            of: { test in
                let client = try test.connect()
                _ = try client.perform(.read(0, 512))
                try client.send(ClientRequest(type: 2).bytes)
                _ = client.isAtEnd()
            }, count: 2)
        #expect(notes == ["unix opened disk", "unix closed disk: disconnected"])
    }

    @Test("A client that closes its socket -> that it has not said so")
    func close() async throws {
        let notes = try await notes(of: { try $0.connect().hangUp() }, count: 2)
        #expect(notes == ["unix opened disk", "unix closed disk: closed"])
    }

    @Test("A request with a wrong magic -> a broken protocol")
    func malformed() async throws {
        let notes = try await notes(
            of: { test in
                let client = try test.connect()
                try client.send([UInt8](repeating: 0xee, count: 28))
                _ = client.isAtEnd()
            }, count: 2)
        #expect(notes == ["unix opened disk", "unix closed disk: malformed"])
    }

    @Test("An export that is not there -> refused, by both ways of choosing one")
    func unknownExport() async throws {
        let notes = try await notes(
            of: { test in
                try? Client(unix: test.socket).choose("other")
                try? Client(unix: test.socket).negotiate("other", .structured)
            }, count: 2)
        #expect(notes == ["unix refused: unknown-export", "unix refused: unknown-export"])
    }

    @Test("Garbage in the handshake -> refused")
    func garbage() async throws {
        let notes = try await notes(
            of: { test in
                let client = try Client(unix: test.socket)
                try client.send([0, 0, 0, 3] + [UInt8](repeating: 1, count: 32))
                _ = try client.receive(18)
                _ = client.isAtEnd()
            }, count: 1)
        #expect(notes == ["unix refused: malformed"])
    }

    @Test("A client that only looks whether somebody listens -> nothing")
    func look() async throws {
        let notes = try await notes(
            of: { test in
                _ = try Client(unix: test.socket).receive(18)
                try test.connect().hangUp()
            }, count: 2)
        #expect(notes == ["unix opened disk", "unix closed disk: closed"])
    }
}
