import Foundation
import NBDServer
import NIOConcurrencyHelpers
import Ring
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct ListenTests {
    private let scratch = Scratch()

    @Test func aSocketLeftByADeadServerIsReplaced() async throws {
        let path = scratch.file("socket")
        try bindAndLeave(path)
        try await withServer { server in
            _ = try server.listen(on: .unix(path: path))
            _ = try await onThread { try Client(unix: path).receive(18) }
        }
        #expect(access(path, F_OK) != 0)
    }

    @Test func theSocketOfALiveServerIsKept() async throws {
        let path = scratch.file("socket")
        try await withServer { first in
            _ = try first.listen(on: .unix(path: path))
            try await withServer { second in
                let told = complaint { try second.listen(on: .unix(path: path)) }
                #expect(told?.contains(path) == true && told?.contains("another server") == true)
            }
            _ = try await onThread { try Client(unix: path).receive(18) }
        }
    }

    @Test func theSocketOfAServerWithAFullQueueIsKept() async throws {
        let path = scratch.file("socket")
        let alive = try UnixAddress.listen(at: path, backlog: 1)
        let waiting = try UnixAddress.fillQueue(at: path)
        defer { for descriptor in [alive] + waiting { close(descriptor) } }
        try await withServer { server in
            #expect(complaint { try server.listen(on: .unix(path: path)) }?.contains("another server") == true)
        }
        #expect(access(path, F_OK) == 0)
    }

    @Test func aServerWaitsWhileAnotherReplacesASocket() async throws {
        let path = scratch.file("socket")
        try bindAndLeave(path)
        let folder = open(scratch.path, O_RDONLY | O_DIRECTORY)
        defer { close(folder) }
        // As another server that has found that nobody listens there.
        try #require(flock(folder, LOCK_EX | LOCK_NB) == 0)
        try await withServer { first in
            try await withServer { second in
                let (hasBegun, isOver) = (NIOLockedValueBox(false), NIOLockedValueBox(false))
                let listening = Task {
                    try await onThread {
                        hasBegun.withLockedValue { $0 = true }
                        defer { isOver.withLockedValue { $0 = true } }
                        return complaint { try second.listen(on: .unix(path: path)) }
                    }
                }
                // On a thread: a server waits 5 s for the lock, and the tasks of a busy test process may wait for longer.
                let fresh = try await onThread {
                    while !hasBegun.withLockedValue({ $0 }) { usleep(1000) }
                    // It replaces the file now, unless it is kept off.
                    for _ in 0..<15 where !isOver.withLockedValue({ $0 }) { usleep(20_000) }
                    let wasOver = isOver.withLockedValue { $0 }
                    unlink(path)
                    let fresh = try UnixAddress.listen(at: path)
                    flock(folder, LOCK_UN)
                    #expect(!wasOver)
                    return fresh
                }
                defer { close(fresh) }
                #expect(try await listening.value?.contains("another server") == true)
            }
            #expect(complaint { try first.listen(on: .unix(path: path)) } == nil, "nobody listens there any more")
        }
    }

    @Test func ofServersThatBeginAtOnceExactlyOneHasTheSocketOfADeadServer() async throws {
        let path = scratch.file("socket")
        for round in 0..<50 {
            try bindAndLeave(path)
            let begun = NIOLockedValueBox(0)
            try await withServer { first in
                try await withServer { second in
                    let servers = [first, second]
                    let told = NIOLockedValueBox<[String?]>([])
                    try await onThreads(2) { number in
                        begun.withLockedValue { $0 += 1 }
                        while begun.withLockedValue({ $0 }) < 2 { sched_yield() }
                        let complaint = complaint { try servers[number].listen(on: .unix(path: path)) }
                        told.withLockedValue { $0.append(complaint) }
                    }
                    let refused = told.withLockedValue { $0 }.compactMap { $0 }
                    #expect(refused.count == 1 && refused[0].contains("another server"), "round \(round): \(refused)")
                    _ = try await onThread { try Client(unix: path).receive(18) }
                }
            }
            #expect(access(path, F_OK) != 0)
        }
    }

    /// The kernel closes the sockets of a killed process's ring some time after the process has been reaped.
    @Test func socketOfAProcessThatIsGoneIsReplacedWhileTheKernelStillHoldsIt() async throws {
        let path = scratch.file("socket")
        let listen = """
            import socket, subprocess, sys
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(sys.argv[1])
            listener.listen(1)
            subprocess.Popen(["sleep", "5"], pass_fds=[listener.fileno()])
            """
        #expect(try await Command.run("python3", "-c", listen, path).status == 0)
        try await withServer { server in
            _ = try server.listen(on: .unix(path: path))
            _ = try await onThread { try Client(unix: path).receive(18) }
        }
    }

    @Test func portThatAFormerLifeLetsGoOfSoonIsTaken() async throws {
        let former = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        try #require(listen(former, 1) == 0)
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(former, $0, &length) }
            return UInt16(bigEndian: $0.pointee.sin_port)
        }
        try await withServer { server in
            // Listening blocks its thread, and other tests block the rest of the tasks' pool.
            Thread.detachNewThread {
                usleep(200_000)
                close(former)
            }
            _ = try server.listen(on: .tcp(host: "127.0.0.1", port: port))
            _ = try await onThread { try Client(port: port).receive(18) }
        }
    }

    @Test func aServerThatEndsLeavesTheSocketThatAnotherHasPutInItsPlace() async throws {
        let path = scratch.file("socket")
        try await withServer { second in
            try await withServer { first in
                _ = try first.listen(on: .unix(path: path))
                unlink(path)
                _ = try second.listen(on: .unix(path: path))
            }
            _ = try await onThread { try Client(unix: path).receive(18) }
        }
    }

    @Test func aFileThatIsNoSocketIsKept() async throws {
        let path = try scratch.write(Array("my only disk".utf8), to: "disk.raw")
        try await withServer { server in
            let told = complaint { try server.listen(on: .unix(path: path)) }
            #expect(told?.contains(path) == true)
        }
        #expect(try scratch.contents("disk.raw") == Array("my only disk".utf8))
    }

    @Test func aPortInUseFailsInOneLine() async throws {
        try await withServer { first in
            let address = try first.listen(on: .tcp(host: "127.0.0.1", port: 0))
            try await withServer { second in
                let told = complaint { try second.listen(on: address) }
                #expect(told?.contains(address.description) == true)
                #expect(told?.contains("another server") == true)
            }
        }
    }

    @Test func portZeroListensOnAFreePort() async throws {
        try await withServer { server in
            let address = try server.listen(on: .tcp(host: "127.0.0.1", port: 0))
            guard case .tcp(_, let port) = address, port != 0 else { throw Unexpected("no port") }
            let greeting = try await onThread { try Client(port: port).receive(18) }
            #expect(greeting.starts(with: Array("NBDMAGICIHAVEOPT".utf8)))
        }
    }

    @Test func impossibleAddressesFailInOneLine() async throws {
        try await withServer { server in
            let long = "/tmp/" + String(repeating: "x", count: 103)
            let addresses: [ListenAddress] = [
                .unix(path: long), .unix(path: scratch.file("none/socket")), .unix(path: ""),
                .tcp(host: "no such host", port: 1), .tcp(host: "192.0.2.1", port: 0),
            ]
            for address in addresses {
                let told = complaint { try server.listen(on: address) }
                #expect(told?.contains("cannot listen on \(address)") == true, "\(address): \(told ?? "")")
            }
        }
    }

    /// The text of the error, if there is one and it is a single line.
    private func complaint(_ listen: () throws -> ListenAddress) -> String? {
        do {
            _ = try listen()
            return nil
        } catch {
            let text = String(describing: error)
            return text.contains("\n") ? nil : text
        }
    }

    private func withServer(_ body: (Server) async throws -> Void) async throws {
        let loop = try EventLoop(index: 0)
        defer { loop.stop() }
        let server = Server(exports: ExportTable(), loops: [loop])
        let result: Result<Void, any Error>
        do { result = .success(try await body(server)) } catch { result = .failure(error) }
        await server.stop()
        try result.get()
    }

    /// Leaves a socket file behind, as a server that was killed does.
    private func bindAndLeave(_ path: String) throws { close(try UnixAddress.listen(at: path)) }
}
