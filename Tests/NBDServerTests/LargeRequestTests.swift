import Foundation
import NBD
import NBDServer
import TestSupport
import Testing

/// Requests of up to 64 MiB, nbdkit's limit, from clients that do not ask for block sizes.
@Suite(.timeLimit(.minutes(10))) struct LargeRequestTests {
    private static let size = 70_000_001

    /// Runs a script with a libnbd that ignores the server's limits: `connect(structured)` makes a connection.
    private func run(_ test: TestServer, _ script: String) async throws -> String {
        let connect = """
            import hashlib
            def connect(structured):
                h = nbd.NBD()
                h.set_strict_mode(0)
                h.set_request_structured_replies(structured)
                h.connect_uri('\(test.uri)')
                return h
            def bytes_of(seed, count): return hashlib.shake_128(seed).digest(count)
            """
        let result = try await Command.run("nbdsh", "-c", connect + "\n" + script)
        guard result.status == 0 else { throw Unexpected("\(result)") }
        return result.output
    }

    @Test func writesOf64MiBAreReadBackIn64MiB() async throws {
        try await TestServer.run(size: Self.size) { test in
            let output = try await run(
                test,
                """
                for structured in (False, True):
                    h = connect(structured)
                    data = bytes_of(b"%d" % structured, 64 << 20)
                    h.pwrite(data, 12345, nbd.CMD_FLAG_FUA if structured else 0)
                    read = h.pread(64 << 20, 12345)
                    print(read == data, open('\(test.scratch.file("disk.raw"))', 'rb').read()[12345:12345 + len(data)] == data)
                    # The first length that goes in pieces, and a last piece that is short.
                    for count in ((32 << 20) + 1, (40 << 20) + 4097):
                        h.pwrite(data[:count], 1)
                        print(h.pread(count, 1) == data[:count])
                    h.shutdown()
                """)
            #expect(output == String(repeating: "True True\nTrue\nTrue\n", count: 2))
            try await test.waitUntilIdle()
        }
    }

    @Test func concurrentLargeAndSmallRequestsAreAllAnswered() async throws {
        try await TestServer.run(size: Self.size) { test in
            let output = try await run(
                test,
                """
                for structured in (False, True):
                    h = connect(structured)
                    data = bytes_of(b"mixed", \(Self.size))
                    h.pwrite(data[:64 << 20], 0)
                    h.pwrite(data[64 << 20:], 64 << 20)
                    reads = []
                    for n in range(8):
                        for offset, count in ((n * 1000, 4096), (n * 77, 64 << 20 if n % 4 == 0 else 3 << 20)):
                            buffer = nbd.Buffer(count)
                            reads.append((h.aio_pread(buffer, offset), buffer, offset, count))
                        part = bytearray(data[n * 500:n * 500 + (40 << 20 if n % 4 == 1 else 9)])
                        reads.append((h.aio_pwrite(nbd.Buffer.from_bytearray(part), n * 500), None, 0, 0))
                    while h.aio_in_flight() > 0: h.poll(-1)
                    ok = True
                    for cookie, buffer, offset, count in reads:
                        ok = ok and h.aio_command_completed(cookie)
                        if buffer: ok = ok and buffer.to_bytearray() == data[offset:offset + count]
                    print(ok)
                """)
            #expect(output == "True\nTrue\n")
            try await test.waitUntilIdle()
        }
    }

    @Test func anExtendedClientReadsWhatItWrote() async throws {
        try await TestServer.run(size: Self.size) { test in
            try await onThread {
                let client = try Client(unix: test.socket)
                try client.negotiate("disk", .extended)
                let bytes = [UInt8](repeating: 0xa5, count: 33 << 20)
                guard try client.perform(.write(99, bytes)).error == 0,
                    try client.perform(.read(99, 33 << 20)).bytes == bytes
                else { throw Unexpected("other bytes") }
            }
        }
    }

    @Test func anErrorInALaterPieceIsAnsweredAndTheConnectionStays() async throws {
        try await TestServer.run(size: Self.size) { test in
            let image = test.scratch.file("disk.raw")
            let output = try await run(
                test,
                """
                import os
                os.truncate('\(image)', 50 << 20)
                for structured in (False, True):
                    h = connect(structured)
                    try: h.pread(64 << 20, 0)
                    except nbd.Error as e: print(e.errno)
                    print(len(h.pread(4096, 0)), len(h.pread(48 << 20, 0)))
                """)
            #expect(output == "EIO\n4096 50331648\nEIO\n4096 50331648\n")
        }
    }

    @Test func aClientThatLeavesInALargeRequestLeaksNothing() async throws {
        try await TestServer.run(size: Self.size) { test in
            try await onThread {
                let writer = try test.connect()
                let header = ClientRequest.write(0, [UInt8](repeating: 1, count: 64 << 20)).bytes
                try writer.send(Array(header.prefix(20 << 20)))
                let reader = try test.connect()
                try reader.send(ClientRequest.read(0, 64 << 20).bytes)
                _ = try reader.receive(16 + (10 << 20))
                let stuck = try test.connect()
                try stuck.send(
                    ClientRequest.read(0, 64 << 20).bytes + ClientRequest(type: ClientRequest.disconnect).bytes)
                // Another client of the same disk is served meanwhile.
                guard try test.connect().perform(.read(0, 100)).error == 0 else { throw Unexpected("not served") }
            }
            try await test.waitUntilIdle()
        }
    }
}
