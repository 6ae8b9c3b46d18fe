import Foundation
import TestSupport
import Testing

/// Invariant 10 for the whole process; docs/performance.md states the bound.
@Suite("Memory", .timeLimit(.minutes(10)))
struct MemoryTests {
    private let scratch = Scratch()

    @Test("A thousand clients ask for 32 MiB and never read -> bounded memory, which is returned")
    func aThousandGreedyClients() async throws {
        let node = try await NodeProcess(
            scratch.file("node"), [try scratch.hole(32 << 20, "disk.raw"), "--export", "disk"])
        let script = try scratch.write(Array(Self.greedyClients.utf8), to: "greedy.py")
        let result = try await Command.run(
            "python3", script, "\(node.folder)/nbd.sock", "\(node.processIdentifier)")
        let figures = result.output.split(separator: " ").compactMap { Int($0.trimmingCharacters(in: .newlines)) }
        guard result.status == 0, figures.count == 3 else { throw NodeProcess.Failure(reason: "\(result)") }
        let (before, most, after) = (figures[0], figures[1], figures[2])
        let loops = ProcessInfo.processInfo.activeProcessorCount
        #expect(most - before > 100 << 20, "the clients' requests were not even begun")
        #expect(most - before < loops * (128 << 20) + 1000 * (64 << 10) + (32 << 20))
        #expect(after - before < loops * (32 << 20) + (64 << 20))
        #expect(try await node.stop() == 0)
    }

    /// Prints the server's memory in bytes before, at most and after; a well-behaved client is served meanwhile.
    private static let greedyClients = """
        import resource, socket, struct, sys, time
        path, process = sys.argv[1], sys.argv[2]
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

        def memory(name):
            for line in open(f'/proc/{process}/status'):
                if line.startswith(name + ':'): return int(line.split()[1]) * 1024

        def connect():
            client = socket.socket(socket.AF_UNIX)
            while client.connect_ex(path) != 0: time.sleep(0.01)
            client.sendall(struct.pack('>I', 3) + b'IHAVEOPT' + struct.pack('>II', 1, 4) + b'disk')
            assert len(client.recv(28, socket.MSG_WAITALL)) == 28
            return client

        def ask(client, length):
            client.sendall(struct.pack('>IHHQQI', 0x25609513, 0, 0, 7, 0, length))

        before = memory('VmRSS')
        clients = [connect() for _ in range(1000)]
        for client in clients: ask(client, 32 << 20)
        for _ in range(20):
            client = connect()
            ask(client, 4096)
            assert len(client.recv(16 + 4096, socket.MSG_WAITALL)) == 16 + 4096
            client.close()
            time.sleep(0.05)
        most = memory('VmHWM')
        for client in clients: client.close()
        # What they asked for is given up, or read and thrown away.
        for _ in range(100):
            after = memory('VmRSS')
            if after < most / 3: break
            time.sleep(0.2)
        print(before, most, after)
        """
}
