import Foundation
import NBD
import NBDServer
import TestSupport
import Testing

@Suite struct RequestTests {
    /// The test runs for NEARBLOCK_SECONDS if that is set, as in `nbd-scripts/test soak`.
    @Test(.timeLimit(.minutes(60))) func randomRequestsOfManyConnectionsAgreeWithTheModel() async throws {
        var random = Seeded.fresh()
        let part = 1_500_007
        let styles: [HeaderStyle] = [.simple, .structured, .extended, .extended]
        let contents = random.bytes(styles.count * part + 333)
        let seeds = styles.map { _ in random.next() }
        let seconds = ProcessInfo.processInfo.environment["NEARBLOCK_SECONDS"].flatMap(Int.init) ?? 0
        let end = ContinuousClock.now + .seconds(seconds)
        try await TestServer.run(contents: contents) { test in
            let models = Models(count: styles.count)
            try await onThreads(styles.count) { index in
                let range = index * part..<(index + 1) * part
                let client = try Client(unix: test.socket)
                try client.negotiate("disk", styles[index])
                let player = RandomPlayer(client: client, range: range, seeds[index])
                models.put(try player.play(model: Array(contents[range]), requests: 400, until: end), at: index)
            }
            #expect(try test.image == models.joined + contents[(styles.count * part)...])
        }
    }

    @Test(.timeLimit(.minutes(10))) func aRequestSplitAtAnyByteIsServed() async throws {
        try await TestServer.run(size: 8192, loops: 1) { test in
            try await onThread {
                let client = try test.connect()
                let other = try test.connect()
                for split in 1..<60 {
                    let write = ClientRequest.write(
                        100 + split, [UInt8](repeating: UInt8(split), count: 32), cookie: 7)
                    try client.send(Array(write.bytes[..<split]))
                    // An answer on the same loop shows that the server has read the first bytes.
                    _ = try other.perform(.read(0, 1))
                    try client.send(Array(write.bytes[split...]))
                    let reply = try client.reply()
                    guard reply == (7, 0) else { throw Unexpected("split at \(split): \(reply)") }
                    let read = try client.perform(.read(100 + split, 32))
                    guard read.bytes == write.payload else { throw Unexpected("split at \(split): \(read)") }
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func aConversationByteByByteOrAtOnceIsServed() async throws {
        try await TestServer.run(size: 8192) { test in
            var bytes: [UInt8] = [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + be(UInt32(1)) + be(UInt32(0))
            bytes += ClientRequest.write(5, Array("Linux".utf8), cookie: 1).bytes
            bytes += ClientRequest(type: ClientRequest.flush, cookie: 2).bytes
            bytes += ClientRequest.read(4, 7, cookie: 3).bytes
            bytes += ClientRequest(type: ClientRequest.disconnect, cookie: 4).bytes
            let conversation = bytes
            for piece in [1, conversation.count] {
                let said = try await onThread {
                    let client = try Client(unix: test.socket)
                    for start in stride(from: 0, to: conversation.count, by: piece) {
                        let end = min(start + piece, conversation.count)
                        try client.send(Array(conversation[start..<end]))
                    }
                    var replies: [UInt64: UInt32] = [:]
                    _ = try client.receive(18 + 10)
                    for _ in 0..<3 {
                        let (cookie, error) = try client.reply()
                        replies[cookie] = error
                        if cookie == 3 { _ = try client.receive(7) }
                    }
                    return client.isAtEnd() ? replies : [:]
                }
                #expect(said == [1: 0, 2: 0, 3: 0])
                #expect(try test.image[4..<11] == [0] + Array("Linux".utf8) + [0])
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func theLargestRequestsAreServed() async throws {
        let size = 32 << 20
        let bytes = [UInt8](unsafeUninitializedCapacity: size + 1000) { buffer, count in
            for index in 0..<size + 1000 {
                buffer[index] = UInt8(truncatingIfNeeded: index &* 2_654_435_761 >> 7)
            }
            count = size + 1000
        }
        try await TestServer.run(size: size + 1000) { test in
            try await onThread {
                let client = try test.connect()
                guard try client.perform(.write(1000, Array(bytes[1000...]))).error == 0 else {
                    throw Unexpected("the write failed")
                }
                guard try client.perform(.read(1000, size)).bytes == Array(bytes[1000...]) else {
                    throw Unexpected("other bytes were read")
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func thePayloadOfARefusedWriteIsSkipped() async throws {
        try await TestServer.run(size: 1 << 20) { test in
            let answers = try await onThread {
                let client = try test.connect()
                var answers: [UInt32] = []
                for length in [1, 28, 5000, 100_000, 3 << 20, 33 << 20, 65 << 20] {
                    let payload = [UInt8](repeating: 0x25, count: length)
                    answers.append(try client.perform(.write(max(0, (1 << 20) - length / 2), payload)).error)
                    answers.append(try client.perform(.read(0, 10)).error)
                }
                return answers
            }
            // A write of one byte at the end fails as well, since it begins there.
            #expect(answers == [28, 0, 28, 0, 28, 0, 28, 0, 28, 0, 28, 0, 22, 0])
            #expect(try test.image == [UInt8](repeating: 0, count: 1 << 20))
        }
    }

    /// A client that is still sending expects no reply; libnbd would take one for a server that is out of step.
    @Test(.timeLimit(.minutes(10)), arguments: [HeaderStyle.simple, .structured, .extended])
    func aRefusalWaitsForTheWholePayload(style: HeaderStyle) async throws {
        try await TestServer.run(size: 1 << 20, loops: 1) { test in
            try await onThread {
                let client = try Client(unix: test.socket)
                try client.negotiate("disk", style)
                let other = try test.connect()
                // One write is beyond the end, one is too long, and one command is unknown.
                var wishes = [5000, 65 << 20].map {
                    ClientRequest.write(1 << 20, [UInt8](repeating: 0x25, count: $0), cookie: 7)
                }
                if style == .extended {
                    var unknown = wishes[0]
                    (unknown.type, unknown.flags) = (999, ClientRequest.payloadLength)
                    wishes.append(unknown)
                }
                for wish in wishes {
                    let bytes = wish.bytes(style) + ClientRequest.read(0, 9, cookie: 8).bytes(style)
                    let split = bytes.count - wish.payload.count
                    for part in [bytes[..<split], bytes[split..<split + 2000]] {
                        try client.send(Array(part))
                        // An answer on the same loop shows that the server has read that.
                        _ = try other.perform(.read(0, 1))
                        guard client.hasReadAll else { throw Unexpected("answered before all of it has come") }
                    }
                    try client.send(Array(bytes[(split + 2000)...]))
                    let refusal = try client.receiveReply { _ in 0 }
                    guard refusal.cookie == 7, refusal.error != 0, try client.receiveReply({ _ in 9 }).data.count == 9
                    else {
                        throw Unexpected("\(refusal)")
                    }
                }
                // Refused requests need as much room for their replies as others.
                for number in 0..<3000 {
                    try client.send(ClientRequest.write(1 << 20, [1, 2, 3], cookie: UInt64(number)).bytes(style))
                }
                for number in 0..<3000 {
                    let heard = try client.receiveReply { _ in 0 }
                    guard heard.cookie == number, heard.error == 28 else { throw Unexpected("\(heard)") }
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func libnbdContinuesAfterARefusal() async throws {
        try await TestServer.run(size: 1 << 20) { test in
            let script = """
                for structured in (False, True):
                    h = nbd.NBD()
                    h.set_strict_mode(0)
                    h.set_request_structured_replies(structured)
                    h.connect_uri('\(test.uri)')
                    for count in (1, 100000, 4 << 20, 30 << 20):
                        for again in range(3):
                            try: h.pwrite(bytes(count), 1 << 20)
                            except nbd.Error as e: print(e.errno, len(h.pread(10, 0)))
                    h.shutdown()
                """
            let result = try await Command.run("nbdsh", "-c", script)
            #expect(result.output == String(repeating: "ENOSPC 10\n", count: 24), "\(result)")
        }
    }

    @Test(.timeLimit(.minutes(10))) func refusalsAreAnsweredAndTheConnectionStays() async throws {
        try await TestServer.run(size: 1 << 20) { test in
            let answers = try await onThread {
                let client = try test.connect()
                let wishes = [
                    ClientRequest(type: ClientRequest.read, offset: 1 << 20, length: 1),
                    ClientRequest(type: ClientRequest.read, offset: .max, length: .max),
                    ClientRequest(type: ClientRequest.read, offset: 0, length: (64 << 20) + 1),
                    ClientRequest(type: 8), ClientRequest(type: 7), ClientRequest(type: 999, flags: 0xffff),
                    ClientRequest(type: ClientRequest.flush, offset: 1),
                    ClientRequest(type: ClientRequest.trim, length: 1 << 21),
                    ClientRequest(type: ClientRequest.zero, offset: 1, length: 1 << 20),
                    ClientRequest(type: ClientRequest.read, length: 1, flags: 4),
                    ClientRequest(type: ClientRequest.read), ClientRequest(type: ClientRequest.trim),
                    ClientRequest(type: ClientRequest.zero),
                    ClientRequest(type: ClientRequest.write),
                    ClientRequest(type: ClientRequest.flush, flags: ClientRequest.forced),
                ]
                return try wishes.map { try client.perform($0).error }
            }
            #expect(answers == [22, 22, 22, 22, 22, 22, 22, 22, 28, 22, 0, 0, 0, 0, 0])
        }
    }

    @Test(.timeLimit(.minutes(10))) func aReadOnlyExportRefusesChanges() async throws {
        try await TestServer.run(contents: [UInt8](repeating: 7, count: 9000), isReadOnly: true) { test in
            let (flags, answers) = try await onThread {
                let client = try test.connect()
                let wishes = [
                    ClientRequest.write(0, [1, 2, 3]), ClientRequest(type: ClientRequest.trim, length: 9000),
                    ClientRequest(type: ClientRequest.zero, length: 9000), ClientRequest(type: ClientRequest.flush),
                    ClientRequest.read(0, 9000),
                ]
                return (client.flags, try wishes.map { try client.perform($0).error })
            }
            #expect(flags & 2 != 0)
            #expect(answers == [1, 1, 1, 0, 0])
            #expect(try test.image == [UInt8](repeating: 7, count: 9000))
        }
    }

    /// A reply that waits uses part of the connection's limit, and the next request needs all of it.
    @Test(arguments: [32 << 20, UInt32.max]) func aReadBehindAWaitingReplyIsServed(length: UInt32)
        async throws
    {
        try await TestServer.run(size: 32 << 20) { test in
            try await onThread {
                let client = try test.connect()
                let large = ClientRequest(type: ClientRequest.read, length: UInt64(length), cookie: 2)
                try client.send(ClientRequest.read(0, 64 << 10).bytes + large.bytes)
                guard try client.reply() == (1, 0) else { throw Unexpected("the first read failed") }
                _ = try client.receive(64 << 10)
                let reply = try client.reply()
                guard reply == (2, length == .max ? 22 : 0) else { throw Unexpected("\(reply)") }
                if reply.error == 0 { _ = try client.receive(Int(length)) }
            }
        }
    }

    @Test(.timeLimit(.minutes(10))) func aThousandRequestsAtOnceAreAllAnswered() async throws {
        try await TestServer.run(size: 1 << 20) { test in
            let client = try test.connect()
            let wishes = (0..<1000).map { number in
                number % 3 == 0
                    ? ClientRequest.write(number * 1000, [UInt8](repeating: 1, count: 900), cookie: UInt64(number))
                    : ClientRequest.read(number * 1000, 700, cookie: UInt64(number))
            }
            async let sent: Void = onThread { try client.send(wishes.flatMap(\.bytes)) }
            try await onThread {
                var open = Set(0..<UInt64(1000))
                while !open.isEmpty {
                    let (cookie, error) = try client.reply()
                    guard error == 0, open.remove(cookie) != nil else {
                        throw Unexpected("\(cookie): \(error)")
                    }
                    if cookie % 3 != 0 { _ = try client.receive(700) }
                }
            }
            try await sent
        }
    }
}
