import Foundation
import TestSupport
import Testing

/// `nearblock status` for people.
@Suite("Status", .timeLimit(.minutes(10)))
struct StatusTests {
    private func lines(_ result: Command.Result) -> [String] {
        result.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init).dropLast()
    }

    @Test("A disk that is being copied -> both nodes show percent, rate and time left, within 80 columns")
    func arriving() async throws {
        let nodes = try await TwoNodes()
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--rate", "4M", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        func arrival() async throws -> [String: Any]? {
            try await nodes.destination.arriving().first?["arrival"] as? [String: Any]
        }
        try await waitUntil("its end can be foreseen") { try await arrival()?["secondsLeft"] is Double }
        let found = try #require(try await arrival())
        let (done, total) = (try #require(found["done"] as? UInt64), try #require(found["total"] as? UInt64))
        #expect(total == 8 << 20 && done > 0 && done <= total)
        #expect(found["source"] as? String == "127.0.0.1")
        #expect(try #require(found["linkRate"] as? Double) > 0)
        #expect(try await nodes.destination.arriving()[0]["condition"] as? String == "arriving")
        #expect(try await nodes.destination.exports().isEmpty, "no client can have it yet")
        for node in [nodes.source, nodes.destination] {
            let result = try await node.ask(["status"])
            let table = lines(result)
            #expect(table[0].hasPrefix("EXPORT ") && table[0].hasSuffix(" CLIENTS"), "\(result.output)")
            #expect(table[1].hasPrefix("disk ") && table[1].contains("%") && table[1].contains("bit/s"))
            #expect(table.allSatisfy { $0.count <= 80 }, "\(result.output)")
        }
        let there = try await nodes.destination.ask(["status"])
        #expect(there.output.contains("from 127.0.0.1"), "\(there.output)")
        #expect(try await nodes.destination.ask(["cancel", "disk"]).status == 0)
        let empty = try await nodes.destination.ask(["status"])
        #expect(lines(empty).first == "this node has no exports, and none arrives", "\(empty)")
        #expect(empty.output.contains("nearblock reload.") && lines(empty).allSatisfy { $0.count <= 80 }, "\(empty)")
        #expect(
            try await nodes.destination.ask(["status", "--completed"]).output
                == "no migration from this node has ended yet\n")
        #expect(try await nodes.destination.ask(["export", "list"]).output.hasPrefix("this node has no exports"))
    }

    @Test("The link is cut -> the source says why it reconnects")
    func reconnecting() async throws {
        let nodes = try await TwoNodes()
        try await nodes.beginSlowMigration()
        try await nodes.destination.kill()
        try await waitUntil("it says why") {
            let export = try await nodes.source.exports()[0]
            return export["condition"] as? String == "reconnecting" && export["problem"] is String
        }
        #expect(try await nodes.source.ask(["status"]).output.contains("problem: "))
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
    }

    @Test("Clients -> counted")
    func clients() async throws {
        let scratch = Scratch()
        _ = try scratch.hole(1 << 20, "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "disk"])
        #expect(try await node.exports()[0]["clients"] as? Int == 0)
        let client = try ChildProcess(
            "/usr/bin/python3",
            ["-c", "import nbd, time; h = nbd.NBD(); h.connect_uri('\(node.uri())'); time.sleep(600)"])
        try await waitUntil("it is counted") { try await node.exports()[0]["clients"] as? Int == 1 }
        client.signal(SIGKILL)
        try await waitUntil("it is gone") { try await node.exports()[0]["clients"] as? Int == 0 }
    }

    @Test("Long names and wide letters -> the columns stand under their titles")
    func longNames() async throws {
        let scratch = Scratch()
        let long = "a-name-that-is-longer-than-its-column"
        var text = ""
        for name in [long, "磁盘"] {
            _ = try scratch.hole(1 << 20, "\(name).raw")
            text += "[export \(name)]\nimage = \(scratch.file("\(name).raw"))\n"
        }
        let file = try scratch.write(Array(text.utf8), to: "nodes.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--config", file])
        let table = lines(try await node.ask(["status"]))
        #expect(table.count == 4 && table[1] == long, "\(table)")
        #expect(table[2].hasPrefix(String(repeating: " ", count: 18) + "1.00 MiB serving"), "\(table)")
        // Each of the two letters takes two columns.
        #expect(table[3].hasPrefix("磁盘" + String(repeating: " ", count: 12) + "  1.00 MiB"), "\(table)")
    }

    @Test("--watch on a pipe -> a block each interval, until nobody reads")
    func watch() async throws {
        let scratch = Scratch()
        _ = try scratch.hole(1 << 20, "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "disk"])
        let status = "\(Nearblock.path) status --watch --interval 100ms --control \(node.control)"
        let blocks = try await Command.run("bash", "-c", "\(status) | head -5")
        let block = "EXPORT                SIZE STATE           DONE         RATE     LEFT CLIENTS\n"
        #expect(blocks.output.components(separatedBy: block).count == 3, "\(blocks)")
        #expect(blocks.output.contains("\n\nEXPORT"), "\(blocks)")
        let objects = try await Command.run("bash", "-c", "\(status) --json | head -3")
        let found = objects.output.split(separator: "\n")
        #expect(found.count == 3 && found.allSatisfy { $0.hasPrefix(#"{"arriving":[],"exports":[{"#) }, "\(objects)")
        let wrong = try await node.ask(["status", "--interval", "1s"])
        #expect(wrong.status == 2, "\(wrong)")
    }

    @Test("--watch on a terminal -> redrawn in place")
    func watchOnTerminal() async throws {
        let scratch = Scratch()
        _ = try scratch.hole(1 << 20, "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "disk"])
        let script = """
            import os, pty, signal, sys
            child, terminal = pty.fork()
            if child == 0: os.execv(sys.argv[1], sys.argv[1:])
            seen = b''
            while seen.count(b'EXPORT') < 3: seen += os.read(terminal, 4096)
            os.kill(child, signal.SIGINT)
            os.waitpid(child, 0)
            print(seen.count(b'\\x1b[2J'), seen.count(b'\\x1b[H'))
            """
        let file = try scratch.write(Array(script.utf8), to: "terminal.py")
        let result = try await Command.run(
            "python3", file, Nearblock.path, "status", "--watch", "--interval", "100ms", "--control", node.control)
        #expect(result.output.hasPrefix("1 "), "cleared once: \(result)")
    }
}
