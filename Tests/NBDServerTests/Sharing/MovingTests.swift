import Block
import BlockModel
import Foundation
import NBD
import NIOConcurrencyHelpers
import Synchronization
import TLS
import TestSupport
import Testing

@testable import NBDServer

/// Sessions that move between loops while their clients ask for things.
@Suite(.timeLimit(.minutes(10))) struct MovingTests {
    @Test("Random requests of sessions that move all the time -> as the model says")
    func random() async throws {
        var random = Seeded.fresh()
        let part = 700_001
        let styles: [HeaderStyle] = [.simple, .structured, .extended]
        let contents = random.bytes(styles.count * part)
        let seeds = styles.map { _ in random.next() }
        try await TestServer.run(contents: contents, loops: 3) { test in
            let models = Models(count: styles.count)
            let moves = try await Mover.run(test.server) {
                try await onThreads(styles.count) { index in
                    let client = try Client(unix: test.socket)
                    try client.negotiate("disk", styles[index])
                    let range = index * part..<(index + 1) * part
                    // A session with requests in flight stays, so that those of deep queues move less often.
                    let player = RandomPlayer(client: client, range: range, depth: 1 + 4 * index, seeds[index])
                    models.put(try player.play(model: Array(contents[range]), requests: 400), at: index)
                }
                try await test.waitUntilIdle()
            }
            #expect(try test.image == models.joined)
            #expect(moves > 10)
        }
    }

    @Test("A client that sends half a request before its session moves -> served when the rest comes")
    func half() async throws {
        try await TestServer.run(size: 8192, loops: 2) { test in
            let client = try test.connect()
            let bytes = ClientRequest.write(100, Array("Linux".utf8), cookie: 9).bytes
            for split in 1..<bytes.count {
                // The session moves when it has parsed the whole request and kept the half one behind it. It would move at once
                // if it were marked before it receives.
                try await onThread { _ = try client.perform(.read(0, 1)) }
                for index in 0..<2 { await test.loops[index].perform { Mover.mark(test.server, index) } }
                let moves = test.server.gate.count
                try await onThread {
                    try client.send(ClientRequest.read(0, 1, cookie: 8).bytes + bytes[..<split])
                    guard try client.reply() == (8, 0), try client.receive(1) == [0] else {
                        throw Unexpected("no byte")
                    }
                }
                // A request whose header is there is begun, and the session stays.
                let hasHeader = split >= HeaderStyle.simple.requestHeaderLength
                try await eventually("the session did not move") { hasHeader || test.server.gate.count > moves }
                try await onThread {
                    try client.send(Array(bytes[split...]))
                    guard try client.reply() == (9, 0) else { throw Unexpected("split at \(split)") }
                }
            }
            #expect(try test.image[100..<105] == Array("Linux".utf8)[...])
        }
    }

    @Test("Clients that come back while the sessions of their old connections move -> invariant 9 holds")
    func givenUp() async throws {
        try await TestServer.run(size: 8192, loops: 4) { test in
            let moves = try await Mover.run(test.server) {
                try await onThread {
                    for round in 1..<150 {
                        let old = try test.connect()
                        let write = ClientRequest.write(0, [UInt8](repeating: 0, count: 4096)).bytes
                        for _ in 0..<4 { try old.send(write) }
                        old.hangUp()
                        let new = try test.connect()
                        let mine = [UInt8](repeating: UInt8(round & 127 | 1), count: 4096)
                        guard try new.perform(.write(0, mine)).error == 0 else { throw Unexpected("round \(round)") }
                        for _ in 0..<3 {
                            let read = try new.perform(.read(0, 4096))
                            guard read.bytes == mine else {
                                throw Unexpected("an old write came late in round \(round)")
                            }
                        }
                    }
                }
                try await test.waitUntilIdle()
            }
            #expect(moves > 10)
        }
    }

    @Test("A session between two loops -> a newcomer waits until it has arrived and its requests have ended")
    func betweenLoops() async throws {
        try await TestServer.run(size: 8192, loops: 3) { test in
            // Clients come to loops 0, 1, 2 in turn.
            let old = try test.connect()
            // From its first request on the session receives, so that it moves after the next one.
            _ = try old.perform(.read(0, 1))
            let (reached, mayGoOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
            defer { mayGoOn.signal() }
            await test.loops[0].perform { Mover.mark(test.server, 0, to: 2) }
            test.loops[2].post {
                reached.signal()
                mayGoOn.wait()
            }
            try await onThread {
                reached.wait()
                _ = try old.perform(.read(0, 1))
            }
            try await eventually("the session did not leave") { !test.server.gate.isClear }
            let new = NIOLockedValueBox<Client?>(nil)
            try await onThread {
                try old.send(ClientRequest.write(0, [1]).bytes)
                old.hangUp()
                let client = try test.connect()
                try client.send(ClientRequest.write(0, [2]).bytes)
                new.withLockedValue { $0 = client }
            }
            // The newcomer's loop runs, and its write waits.
            try await test.runLoops([1], times: 100)
            let client = try #require(new.withLockedValue { $0 })
            #expect(client.hasReadAll)
            mayGoOn.signal()
            try await onThread { guard try client.reply().error == 0 else { throw Unexpected("the write failed") } }
            #expect(try test.image[0] == 2)
            #expect(test.server.gate.count == 1)
        }
    }

    @Test("A marked session with a request that takes long -> it receives and answers others meanwhile")
    func slowRequest() async throws {
        try await TestServer.run(size: 8192, loops: 2) { test in
            let client = try test.connect()
            await test.disk.fence()
            try client.send(ClientRequest.write(0, [1], cookie: 1).bytes)
            let server = test.server
            var isBegun = false
            for _ in 0..<2000 where !isBegun {
                isBegun = await test.loops[0].perform {
                    server.loops[0].sessions.values.contains { $0.slots!.inFlight == 1 }
                }
            }
            #expect(isBegun)
            await test.loops[0].perform { Mover.mark(test.server, 0) }
            // A read of nothing needs no device, so that it is answered behind the fence.
            try await onThread {
                for cookie in UInt64(2)..<50 {
                    try client.send(ClientRequest.read(0, 0, cookie: cookie).bytes)
                    guard try client.reply() == (cookie, 0) else { throw Unexpected("request \(cookie)") }
                }
            }
            #expect(test.server.gate.count == 0)
            await test.disk.unfence()
            try await onThread { guard try client.reply() == (1, 0) else { throw Unexpected("no write") } }
        }
    }

    @Test("A mark that is too old -> the session stays")
    func expired() async throws {
        try await TestServer.run(size: 8192, loops: 2) { test in
            let client = try test.connect()
            await test.loops[0].perform {
                for session in test.server.loops[0].sessions.values {
                    session.move(SessionMove(target: test.server.loops[1], deadline: 1))
                }
            }
            for _ in 0..<10 { _ = try client.perform(.read(0, 100)) }
            #expect(test.server.gate.count == 0)
        }
    }

    @Test("A client that pipelines and reads no reply -> its marked session goes on receiving")
    func unreadReplies() async throws {
        try await TestServer.run(size: 1 << 20, loops: 2) { test in
            let moves = try await Mover.run(test.server) {
                let client = try test.connect()
                try await onThread {
                    // More than the socket buffers hold, so that some of them wait at the server.
                    for cookie in 0..<20 {
                        try client.send(ClientRequest.read(0, 32 << 10, cookie: UInt64(cookie)).bytes)
                    }
                    for cookie in 0..<20 {
                        guard try client.reply() == (UInt64(cookie), 0) else { throw Unexpected("reply \(cookie)") }
                        _ = try client.receive(32 << 10)
                    }
                    for _ in 0..<20 { _ = try client.perform(.read(0, 10)) }
                }
            }
            #expect(moves > 0)
        }
    }

    @Test("Encrypted connections that move -> every byte is copied, both ways, and no duration is longer than the copy")
    func encrypted() async throws {
        var random = Seeded.fresh()
        let bytes = random.bytes((3 << 20) + 77)
        try await TestServer.run(contents: [UInt8](repeating: 0, count: bytes.count), loops: 6) { test in
            let keys = try test.scratch.write(
                Array("alice:00112233445566778899aabbccddeeff\n".utf8), to: "keys.psk")
            let context = try TLSContext(files: TLSFiles(directory: test.scratch.path), verifiesClients: false)
            test.server.secure(with: ServerTLS(context: context, isRequired: true))
            let source = try test.scratch.write(bytes, to: "source.raw")
            let target = test.scratch.file("target.raw")
            let uri = "nbds+unix://alice@/disk?socket=\(test.socket)&tls-psk-file=\(keys)"
            let began = ContinuousClock.now
            let moves = try await Mover.run(test.server) {
                for copy in [[source, uri], [uri, target]] {
                    let result = try await Command.run(
                        "nbdcopy", ["--request-size=4096", "--requests=4", "--connections=3"] + copy)
                    #expect(result.status == 0, "\(result.errors)")
                }
                try await test.waitUntilIdle()
            }
            #expect(try test.image == bytes && test.scratch.contents("target.raw") == bytes)
            #expect(moves > 10)
            // A loop that has had no client yet has looked at no clock.
            let (requests, connections) = (4.0, 3.0)
            let most = began.duration(to: .now) / Duration.nanoseconds(1) * requests * connections
            for command in RequestTallies.commands {
                #expect(Double(test.tallies.totals(of: command).nanoseconds) < most, "\(command)")
            }
        }
    }

    @Test("A server that stops while sessions move -> every acknowledged write is there, and nothing is left")
    func stopping() async throws {
        var moves = 0
        for _ in 0..<20 {
            try await TestServer.run(size: 1 << 20, loops: 3) { test in
                let acknowledged = NIOLockedValueBox<[UInt8]>(Array(repeating: 0, count: 4))
                moves += try await Mover.run(test.server) {
                    let clients = try (0..<4).map { _ in try test.connect() }
                    async let written: Void = onThreads(4) { index in
                        var round: UInt8 = 0
                        while true {
                            round &+= 1
                            let write = ClientRequest.write(index * 4096, [UInt8](repeating: round, count: 4096))
                            guard (try? clients[index].perform(write).error) == 0 else { return }
                            acknowledged.withLockedValue { [round] in $0[index] = round }
                        }
                    }
                    try await eventually("nothing moved") { test.server.gate.count > 3 }
                    await test.server.stop()
                    try await written
                }
                #expect(test.server.connectionCount == 0)
                let (image, last) = (try test.image, acknowledged.withLockedValue { $0 })
                for index in 0..<4 {
                    // The write after the last acknowledged one may have reached the disk, too.
                    let block = image[index * 4096..<(index + 1) * 4096]
                    #expect(block.allSatisfy { $0 == last[index] } || block.allSatisfy { $0 == last[index] &+ 1 })
                }
            }
        }
        #expect(moves > 0)
    }
}
