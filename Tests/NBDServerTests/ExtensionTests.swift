import Foundation
import NBD
import NBDServer
import TestSupport
import Testing

/// Structured and extended headers over a real socket.
@Suite(.timeLimit(.minutes(10))) struct ExtensionTests {
    private static let styles: [HeaderStyle] = [.simple, .structured, .extended]

    private func connect(_ test: TestServer, _ style: HeaderStyle, contexts: Bool = true) throws -> Client {
        let client = try Client(unix: test.socket)
        try client.negotiate("disk", style, asksForContexts: contexts)
        return client
    }

    @Test(arguments: styles) func emptyRequestsAreAnswered(style: HeaderStyle) async throws {
        try await TestServer.run { test in
            try await onThread {
                let client = try connect(test, style)
                for type in [
                    ClientRequest.read, ClientRequest.write, ClientRequest.flush, ClientRequest.trim,
                    ClientRequest.cache, ClientRequest.zero,
                ] {
                    let heard = try client.ask(ClientRequest(type: type))
                    #expect(heard.error == 0 && heard.data.isEmpty)
                }
                #expect(try client.ask(ClientRequest(type: ClientRequest.status)).error == 22)
                #expect(try client.ask(.read(0, 1)).error == 0)
            }
        }
    }

    @Test(arguments: styles) func theLongestRequestsSucceed(style: HeaderStyle) async throws {
        let count = 64 << 20
        try await TestServer.run(size: count + 7) { test in
            try await onThread {
                let client = try connect(test, style)
                var random = Seeded(32)
                let bytes = random.bytes(count)
                #expect(try client.ask(.write(7, bytes)).error == 0)
                let heard = try client.ask(.read(7, count))
                #expect(heard.error == 0 && heard.data == bytes && heard.dataOffset ?? 7 == 7)
                #expect(try client.ask(.read(0, count + 1)).error == (style == .simple ? 22 : 75))
                #expect(try client.ask(.write(0, bytes + [0])).error == 22)
                #expect(try client.ask(.read(0, 1)).data == [0])
            }
        }
    }

    /// Errors come in chunks if chunks were negotiated, so that no reply looks like one of another style.
    @Test(arguments: styles) func refusalsHaveTheNegotiatedStyle(style: HeaderStyle) async throws {
        try await TestServer.run(size: 4096) { test in
            try await onThread {
                let client = try connect(test, style)
                let wishes: [(ClientRequest, UInt32)] = [
                    (.read(4096, 1), 22), (.write(4096, [1]), 28),
                    (ClientRequest(type: ClientRequest.trim, length: 5000), 22),
                    (ClientRequest(type: ClientRequest.cache, length: 5000), 22),
                    (ClientRequest(type: ClientRequest.zero, length: 5000), 28),
                    (ClientRequest(type: ClientRequest.status, length: 5000), 22), (ClientRequest(type: 99), 22),
                    (ClientRequest(type: ClientRequest.read, length: 1, flags: 16), 22),
                    (ClientRequest(type: ClientRequest.read, length: 1, flags: 4), style == .simple ? 22 : 0),
                ]
                for (wish, error) in wishes { #expect(try client.ask(wish).error == error, "\(wish)") }
            }
        }
    }

    @Test func extendedRequestsBeyondFourGigabytesSucceed() async throws {
        try await TestServer.run(size: 1 << 40) { test in
            try await onThread {
                let client = try connect(test, .extended)
                #expect(try client.ask(.write(5 << 30, [1, 2, 3])).error == 0)
                let status = try client.ask(ClientRequest(type: ClientRequest.status, length: 1 << 40))
                #expect(status.extents.map(\.length) == [5 << 30, 4096, (1 << 40) - (5 << 30) - 4096])
                #expect(status.extents.map(\.state) == [3, 0, 3])
                #expect(
                    try client.ask(ClientRequest(type: ClientRequest.zero, offset: 1, length: (1 << 40) - 1)).error == 0
                )
                #expect(try client.ask(.read(5 << 30, 3)).data == [0, 0, 0])
                #expect(try client.ask(ClientRequest(type: ClientRequest.trim, length: 1 << 40)).error == 0)
                #expect(try client.ask(ClientRequest(type: ClientRequest.cache, length: 1 << 40)).error == 0)
                for offset in [UInt64(0), 1, .max] {
                    let wish = ClientRequest(type: ClientRequest.trim, offset: offset, length: .max)
                    #expect(try client.ask(wish).error == 22)
                }
            }
        }
    }

    /// An unexpected payload is skipped; one that is too long for that ends the connection.
    @Test func unexpectedPayloadsAreSkipped() async throws {
        try await TestServer.run { test in
            try await onThread {
                let client = try connect(test, .extended)
                for type: UInt16 in [
                    ClientRequest.read, ClientRequest.flush, ClientRequest.trim, ClientRequest.status, 77,
                ] {
                    let stray = ClientRequest(
                        type: type, length: 100_000, flags: ClientRequest.payloadLength,
                        payload: [UInt8](repeating: 0x21, count: 100_000))
                    #expect(try client.ask(stray).error == 22)
                }
                try client.send(
                    ClientRequest(type: ClientRequest.trim, length: .max, flags: ClientRequest.payloadLength).bytes(
                        .extended))
                #expect(client.isAtEnd())
            }
        }
    }

    /// QEMU 10.0 leaves out the flag that the protocol requires.
    @Test func anExtendedWriteWithoutThePayloadFlagHasItsData() async throws {
        try await TestServer.run { test in
            try await onThread {
                let client = try connect(test, .extended)
                let header = be(UInt32(0x21e4_1c71)) + be(UInt16(0)) + be(ClientRequest.write)
                let bytes = [UInt8](repeating: 7, count: 10)
                try client.send(header + be(UInt64(1)) + be(UInt64(5)) + be(UInt64(10)) + bytes)
                #expect(try client.receiveReply { _ in 0 }.error == 0)
                let read = try client.ask(.read(4, 12))
                #expect(read.error == 0 && Array(read.data[1...10]) == bytes)
            }
        }
    }

    @Test(arguments: [HeaderStyle.structured, .extended]) func statusWithoutContextsIsRefused(style: HeaderStyle)
        async throws
    {
        try await TestServer.run { test in
            try await onThread {
                let client = try connect(test, style, contexts: false)
                #expect(try client.ask(ClientRequest(type: ClientRequest.status, length: 100)).error == 22)
            }
        }
    }

    /// Every other block has data, in more extents than one reply takes: a client that repeats its question gets all.
    @Test(arguments: [HeaderStyle.structured, .extended]) func statusTellsDataFromHoles(style: HeaderStyle)
        async throws
    {
        let blocks = 12_000
        try await TestServer.run(size: blocks * 4096) { test in
            try await onThread {
                let client = try connect(test, style)
                let block = [UInt8](repeating: 7, count: 4096)
                for number in stride(from: 1, to: blocks, by: 2) {
                    try client.send(ClientRequest.write(number * 4096, block).bytes(style))
                    if number % 64 == 63 { for _ in 0..<32 { _ = try client.receiveReply { _ in 0 } } }
                }
                for _ in 0..<(blocks / 2 % 32) { _ = try client.receiveReply { _ in 0 } }
                var states: [UInt64] = []
                var offset: UInt64 = 0
                var replies = 0
                while offset < UInt64(blocks * 4096) {
                    let length = UInt64(blocks * 4096) - offset
                    let extents = try client.ask(
                        ClientRequest(type: ClientRequest.status, offset: offset, length: length)
                    ).extents
                    #expect(extents.allSatisfy { $0.length == 4096 })
                    states += extents.map(\.state)
                    offset += extents.reduce(0) { $0 + $1.length }
                    replies += 1
                }
                #expect(states == (0..<blocks).map { $0 % 2 == 0 ? 3 : 0 } && replies > 1)
                let one = ClientRequest(type: ClientRequest.status, offset: 100, length: 9000, flags: ClientRequest.one)
                let extents = try client.ask(one).extents
                #expect(extents.map(\.length) == [3996] && extents.map(\.state) == [3])
            }
        }
    }

    /// The reply to LIST is much longer than a connection's queue: it comes in portions, and a choice of an export
    /// right behind the option still counts.
    @Test func aLongListIsSentInPortions() async throws {
        try await TestServer.run { test in
            let names = (0..<20_000).map { "export number \($0)" }
            for name in names { #expect(test.exports.add(Export(name: name, disk: test.disk, isReadOnly: true))) }
            try await onThread {
                let client = try Client(unix: test.socket)
                _ = try client.receive(18)
                let option = Array("IHAVEOPT".utf8)
                try client.send([0, 0, 0, 3] + option + be(UInt32(3)) + be(UInt32(0)))
                try client.send(option + be(UInt32(7)) + be(UInt32(10)) + be(UInt32(4)) + "disk".utf8 + be(UInt16(0)))
                var listed = 0
                while true {
                    let header = try client.receive(20)
                    let count = header[16...].reduce(0) { $0 << 8 | Int($1) }
                    _ = try client.receive(count)
                    if header[11] == 3, header[15] == 2 { listed += 1 }
                    if header[11] == 7, header[15] == 1 { break }
                }
                #expect(listed == names.count + 1)
                #expect(try client.perform(.read(0, 1)).error == 0)
            }
        }
    }

    /// Requests that a client sends before it closes its sending half are answered, however many they are.
    @Test func requestsBeforeAHalfCloseAreAnswered() async throws {
        try await TestServer.run(size: 1 << 20) { test in
            try await onThread {
                let client = try connect(test, .extended)
                let count = 400
                for number in 0..<count {
                    try client.send(
                        ClientRequest.write(number * 1000, [UInt8](repeating: UInt8(number % 250), count: 1000)).bytes(
                            .extended))
                }
                shutdown(client.socket, CInt(SHUT_WR))
                for _ in 0..<count { #expect(try client.receiveReply { _ in 0 }.error == 0) }
                #expect(client.isAtEnd())
            }
            #expect(try test.image[399_000] == 149)
        }
    }

    /// The client sends a whole conversation and closes its sending half before the server has seen any of it.
    @Test func aConversationSentAtOnceIsAnsweredInFull() async throws {
        try await TestServer.run(contents: [UInt8](repeating: 5, count: 4096)) { test in
            for _ in 0..<20 {
                try await onThread {
                    let client = try Client(unix: test.socket)
                    var said: [UInt8] = [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + be(UInt32(1)) + be(UInt32(0))
                    said +=
                        ClientRequest.read(0, 100, cookie: 9).bytes
                        + ClientRequest(type: ClientRequest.disconnect).bytes
                    try client.send(said)
                    shutdown(client.socket, CInt(SHUT_WR))
                    _ = try client.receive(18 + 10)
                    #expect(try client.reply() == (9, 0))
                    #expect(try client.receive(100) == [UInt8](repeating: 5, count: 100))
                    #expect(client.isAtEnd())
                }
            }
        }
    }

    /// The pool has room for the replies of as many connections as come here, one after the other. Room is looked for
    /// before a disconnect is recognized.
    @Test func closedConnectionsFreeTheirRoomForReplies() async throws {
        try await TestServer.run(loops: 1) { test in
            try await onThread {
                for _ in 0..<ServerLimits.connections + 10 {
                    let client = try test.connect()
                    try client.send(ClientRequest(type: ClientRequest.disconnect).bytes)
                    guard client.isAtEnd() else { throw Unexpected("more came than was asked for") }
                }
                #expect(try test.connect().perform(.read(0, 512)).error == 0)
            }
        }
    }
}
