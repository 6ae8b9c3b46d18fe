import Foundation
import TestSupport
import Testing

@Suite("Chains of nodes", .timeLimit(.minutes(10)))
struct ChainTests {
    @Test(
        "Disk complete at the last node -> the first forwards there; killing the middle node changes nothing"
    )
    func shortened() async throws {
        let nodes = try await ChainOfNodes(megabytes: 16)
        let before = try nodes.image(of: "a")
        let (progress, stop) = (nodes.scratch.file("progress"), nodes.scratch.file("stop"))
        func writes() -> Int { (try? String(contentsOfFile: progress, encoding: .utf8)).flatMap { Int($0) } ?? 0 }
        let guest = try ChildProcess("/usr/bin/python3", ["-c", Self.guest, nodes["a"].uri(), progress, stop])
        try await waitUntil("the guest writes") { try nodes.image(of: "a") != before }
        try await nodes.migrate("a", "b")
        try await nodes.migrate("b", "c")
        try await nodes.wait(for: "a", toForwardTo: "c")
        try await nodes["b"].kill()
        let written = writes()
        try await waitUntil("it goes on") { writes() > written + 200 }
        _ = try nodes.scratch.write([], to: "stop")
        #expect(try await onThread { guest.waitUntilExit() } == 0, "a request failed, or what was read was wrong")
        #expect(try await nodes.status(of: "a")["problem"] == nil)

        try await nodes.restart("a")
        try await nodes.write(5, through: "a")
        try await nodes.restart("c")
        try await nodes.write(6, through: "a")
        #expect(try nodes.image(of: "c").prefix(65536) == Data(repeating: 6, count: 65536))
        #expect(try await Command.run("nbdcopy", [nodes["a"].uri(), nodes.scratch.file("copy")]).status == 0)
        #expect(try nodes.scratch.data("copy") == nodes.image(of: "c"))
        #expect(try await nodes.status(of: "a")["destination"] as? String == nodes.address(of: "c"))
    }

    @Test(
        "Any node killed after the disk has moved on -> the chain is still shortened",
        arguments: ["a", "b", "c"])
    func killed(_ victim: String) async throws {
        let nodes = try await ChainOfNodes(megabytes: 2)
        try await nodes.migrate("a", "b")
        try await nodes.write(1, through: "a")
        try await nodes.migrate("b", "c")
        // At this moment the nodes inform each other and change their records.
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...30)))
        try await nodes.restart(victim)
        try await nodes.write(2, through: "a")
        try await nodes.wait(for: "a", toForwardTo: "c")
        try await nodes.write(3, at: "64k", through: "a")
        #expect(
            try nodes.image(of: "c").prefix(131_072) == Data(repeating: 2, count: 65536)
                + Data(repeating: 3, count: 65536))
        try await nodes["b"].kill()
        try await nodes.write(4, through: "a")
        try await nodes.restart("a")
        try await nodes.restart("c")
        try await nodes.write(5, through: "a")
    }

    @Test("A node is down while the disk moves on -> it learns of that later")
    func late() async throws {
        let nodes = try await ChainOfNodes(megabytes: 2)
        try await nodes.migrate("a", "b")
        try await nodes["a"].kill()
        try await nodes.migrate("b", "c")
        try await nodes.restart("b")
        try await nodes.start("a")
        try await nodes.wait(for: "a", toForwardTo: "c")
        try await nodes["b"].kill()
        try await nodes.write(1, through: "a")
    }

    @Test("A longer chain -> a late node goes to its end at once, without the nodes between")
    func longer() async throws {
        let nodes = try await ChainOfNodes(megabytes: 2, names: ["a", "b", "c", "d"])
        try await nodes.migrate("a", "b")
        try await nodes["a"].kill()
        try await nodes.migrate("b", "c")
        try await nodes.migrate("c", "d")
        try await nodes.wait(for: "b", toForwardTo: "d")
        try await nodes["c"].kill()
        try await nodes.start("a")
        try await nodes.wait(for: "a", toForwardTo: "d")
        try await nodes["b"].kill()
        try await nodes.write(1, through: "a")
        try await nodes.restart("d")
        try await nodes.write(2, through: "a")
        #expect(try nodes.image(of: "d").prefix(65536) == Data(repeating: 2, count: 65536))
    }

    @Test("A group that moved on, together or one by one -> each disk is reached directly")
    func groups() async throws {
        let scratch = Scratch()
        for name in ["root", "log", "data"] { try scratch.makeImage("\(name).raw", megabytes: 1) }
        let disks = ["root", "log", "data"]
        let lines = disks.map { "[export \($0)]\nimage = \(scratch.file("\($0).raw"))\n" }
        let configuration = try scratch.write(Array(lines.joined().utf8), to: "a.conf")
        let (middlePort, lastPort) = (try FreePort.find(), try FreePort.find())
        func taker(_ name: String, _ port: UInt16) async throws -> NodeProcess {
            try await NodeProcess(
                scratch.file(name),
                ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("\(name)/images")])
        }
        let first = try await NodeProcess(scratch.file("a"), ["--config", configuration])
        let middle = try await taker("b", middlePort)
        let last = try await taker("c", lastPort)
        #expect(try await first.ask(["migrate"] + disks + ["--to", "127.0.0.1:\(middlePort)"]).status == 0)
        #expect(try await middle.ask(["migrate", "root", "log", "--to", "127.0.0.1:\(lastPort)"]).status == 0)
        func destinations() async throws -> [String: UInt16] {
            try await first.exports().reduce(into: [:]) { all, export in
                let address = export["destination"] as? String ?? ""
                all[export["export"] as! String] = UInt16(address.split(separator: ":").last ?? "")
            }
        }
        try await waitUntil("two have gone on") {
            try await destinations() == ["root": lastPort, "log": lastPort, "data": middlePort]
        }
        #expect(try await middle.ask(["migrate", "data", "--to", "127.0.0.1:\(lastPort)"]).status == 0)
        try await waitUntil("all have") { try await destinations().values.allSatisfy { $0 == lastPort } }
        try await middle.kill()
        for (number, name) in disks.enumerated() {
            let write = "write -P \(number + 1) 0 64k"
            #expect(try await Command.run("qemu-io", ["-f", "raw", "-c", write, first.uri(name)]).status == 0)
            let image = try scratch.data("c/images/\(name).raw")
            #expect(image.prefix(65536) == Data(repeating: UInt8(number + 1), count: 65536))
        }
        #expect(try await last.stop() == 0)
    }

    @Test("Last node unreachable for the first -> forwarding stays, and status says the middle is needed")
    func unreachable() async throws {
        let nodes = try await ChainOfNodes(megabytes: 2)
        try await nodes.migrate("a", "b")
        // The listener ends, and its open connections stay.
        let port = try FreePort.find()
        func relay() throws -> ChildProcess {
            try ChildProcess(
                "/usr/bin/python3", ["-c", Self.relay, "\(port)", "\(nodes.ports["c"]!)"])
        }
        let first = try relay()
        try await waitUntil("the relay is there") {
            try await Command.run("python3", ["-c", "import socket; socket.create_connection(('127.0.0.1', \(port)))"])
                .status == 0
        }
        nodes["a"].signal(SIGSTOP)
        try await nodes.migrate(from: "b", to: "127.0.0.1:\(port)")
        first.signal(SIGKILL)
        _ = try await onThread { first.waitUntilExit() }
        nodes["a"].signal(SIGCONT)
        try await waitUntil("status says so") {
            let problem = try await nodes.status(of: "a")["problem"] as? String
            return problem?.contains("\(nodes.address(of: "b")) is needed to reach 127.0.0.1:\(port)") == true
        }
        #expect(try await nodes.status(of: "a")["destination"] as? String == nodes.address(of: "b"))
        try await nodes.write(1, through: "a")
        #expect(try nodes.image(of: "c").prefix(65536) == Data(repeating: 1, count: 65536))
        let second = try relay()
        try await waitUntil("it is reached after all") {
            try await nodes.status(of: "a")["destination"] as? String == "127.0.0.1:\(port)"
        }
        #expect(try await nodes.status(of: "a")["problem"] == nil)
        try await nodes["b"].kill()
        try await nodes.write(2, through: "a")
        second.signal(SIGKILL)
    }

    @Test("A disk returns to its first node -> served there, by every path")
    func comesBack() async throws {
        let nodes = try await ChainOfNodes(megabytes: 2)
        try await nodes.migrate("a", "b")
        try await nodes.migrate("b", "c")
        try await nodes.wait(for: "a", toForwardTo: "c")
        try await nodes.migrate("c", "a")
        #expect(try await nodes.status(of: "a")["state"] as? String == "serving")
        // The middle node forwards its own clients to the first node.
        try await nodes.wait(for: "b", toForwardTo: "a")
        for (number, name) in ["a", "b", "c"].enumerated() {
            try await nodes.write(number + 1, through: name)
            #expect(try nodes.image(of: "a").prefix(65536) == Data(repeating: UInt8(number + 1), count: 65536))
        }
        for name in ["a", "b", "c"] { try await nodes.restart(name) }
        #expect(try await nodes.status(of: "a")["state"] as? String == "serving")
        // Go once around in the other direction.
        try await nodes.migrate("a", "b")
        try await nodes.wait(for: "c", toForwardTo: "b")
        try await nodes.write(9, through: "c")
        #expect(try nodes.image(of: "b").prefix(65536) == Data(repeating: 9, count: 65536))
        try await nodes.write(10, through: "a")
        #expect(try nodes.image(of: "b").prefix(65536) == Data(repeating: 10, count: 65536))
    }

    /// Writes and checks blocks until the file of that name exists.
    private static let guest = """
        import nbd, os, random, sys
        uri, progress, stop = sys.argv[1:]
        client = nbd.NBD()
        client.connect_uri(uri)
        model, count = {}, 0
        while not os.path.exists(stop):
            block = random.randrange(2048)
            model[block] = os.urandom(4096)
            client.pwrite(model[block], block * 4096)
            block = random.choice(list(model))
            assert client.pread(4096, block * 4096) == model[block], f'block {block} after {count} writes'
            count += 1
            if count % 50 == 0:
                client.flush()
                with open(progress + '.new', 'w') as file: file.write(str(count))
                os.rename(progress + '.new', progress)
        for block, contents in model.items(): assert client.pread(4096, block * 4096) == contents, f'block {block}'
        client.shutdown()
        """

    /// Each connection has its own process.
    private static let relay = """
        import os, socket, sys, threading
        here, there = int(sys.argv[1]), int(sys.argv[2])
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(('127.0.0.1', here))
        listener.listen(16)
        def pump(one, other):
            try:
                while data := one.recv(65536): other.sendall(data)
            finally:
                os._exit(0)
        while True:
            near, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                far = socket.create_connection(('127.0.0.1', there))
                threading.Thread(target=pump, args=(near, far), daemon=True).start()
                pump(far, near)
            near.close()
        """
}
