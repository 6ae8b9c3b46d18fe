import Foundation
import TestSupport
import Testing

/// A migration that ends its node at every start must not be resumed for ever.
@Suite("Migrations that are put aside", .timeLimit(.minutes(10)))
struct PutAsideTests {
    private let scratch = Scratch()
    private let port: UInt16

    init() throws {
        port = try FreePort.find()
        var lines = ""
        for name in ["root", "log"] {
            try scratch.makeImage("\(name).raw", megabytes: 4)
            lines += "[export \(name)]\nimage = \(scratch.file("\(name).raw"))\n"
        }
        try Data(lines.utf8).write(to: URL(fileURLWithPath: scratch.file("source.conf")))
    }

    private func source() async throws -> NodeProcess {
        try await start("s", ["--config", scratch.file("source.conf")])
    }

    private func destination() async throws -> NodeProcess {
        try await start("d", ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
    }

    /// The kernel closes a killed process's rings and files with a delay.
    private func start(_ folder: String, _ arguments: [String]) async throws -> NodeProcess {
        let limit = Date(timeIntervalSinceNow: 20)
        while true {
            do {
                return try await NodeProcess(scratch.file(folder), arguments)
            } catch {
                guard Date() < limit else { throw error }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    private func records(_ prefix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: scratch.file("s/state")).filter { $0.hasPrefix(prefix) }
    }

    /// Starts a slow migration and kills both nodes in the middle of it.
    private func interrupt() async throws {
        let destination = try await destination()
        let source = try await source()
        let begun = try await source.ask(
            ["migrate", "root", "log", "--to", "127.0.0.1:\(port)", "--rate", "1M", "--detach"])
        #expect(begun.status == 0, "\(begun)")
        try await waitUntil("it copies") { try await source.ask(["status"]).output.contains("copying") }
        try await destination.kill()
        try await source.kill()
        #expect(try records("migrating-").count == 2)
    }

    /// Ends the node twice before the destination has answered, because none runs.
    private func endTwice() async throws {
        for life in 1...2 {
            let node = try await source()
            #expect(node.messages.contains("goes on"), "life \(life): \(node.messages)")
            try await node.kill()
        }
    }

    private func expectServing(_ node: NodeProcess) async throws {
        for name in ["root", "log"] {
            let written = try await Command.run(
                "qemu-io", ["-f", "raw", "-c", "write -P 7 0 64k", "-c", "read -P 7 0 64k", node.uri(name)])
            #expect(written.status == 0 && !written.output.contains("failed"), "\(written)")
        }
        #expect(try await node.exports().allSatisfy { $0["state"] as? String == "serving" })
    }

    @Test("Two ends of the node -> put aside; the disks are served, and status and log say what to do")
    func putAside() async throws {
        try await interrupt()
        try await endTwice()
        for _ in 1...2 {
            let node = try await source()
            #expect(!node.messages.contains("goes on"), "\(node.messages)")
            let lines = node.messages.split(separator: "\n").filter { $0.contains("put aside") }
            #expect(lines.count == 1, "\(node.messages)")
            let status = try await node.ask(["status"]).output
            for text in [String(lines.first ?? ""), status] {
                #expect(text.contains("nearblock migrate root log --to 127.0.0.1:\(port)"), "\(text)")
                #expect(text.contains("nearblock cancel root") && text.contains("2 times in a row"), "\(text)")
            }
            try await expectServing(node)
            try await node.kill()
        }
        #expect(try records("migrating-").count == 2)

        let node = try await source()
        #expect(try await node.ask(["cancel", "log"]).status == 0)
        #expect(try await !node.ask(["status"]).output.contains("put aside"))
        #expect(try records("migrating-").isEmpty)
        #expect(try await node.ask(["cancel", "log"]).status == 1, "there is nothing more")
        #expect(try await node.stop() == 0)
        let next = try await source()
        #expect(!next.messages.contains("put aside") && !next.messages.contains("goes on"))
        #expect(try await next.stop() == 0)
    }

    @Test("A migration that was put aside starts again -> counted anew")
    func again() async throws {
        try await interrupt()
        try await endTwice()
        let node = try await source()
        #expect(node.messages.contains("put aside"))
        let back = try await destination()
        let moved = try await node.ask(["migrate", "root", "log", "--to", "127.0.0.1:\(port)"])
        #expect(moved.status == 0, "\(moved)")
        for name in ["root", "log"] {
            #expect(try scratch.data("\(name).raw") == scratch.data("images/\(name).raw"))
        }
        #expect(try records("migrating-").isEmpty)
        #expect(try await node.stop() == 0)
        #expect(try await back.stop() == 0)
    }

    @Test("A migration that progresses -> resumed after any number of kills, until it ends")
    func progress() async throws {
        try await interrupt()
        let back = try await destination()
        for life in 1...4 {
            let node = try await source()
            #expect(node.messages.contains("goes on"), "life \(life): \(node.messages)")
            try await waitUntil("life \(life): both are let in") {
                try records("migrating-").allSatisfy {
                    !(try String(contentsOfFile: scratch.file("s/state/\($0)"), encoding: .utf8)
                        .contains(#""unanswered" : 1"#))
                }
            }
            try await node.kill()
        }
        let last = try await source()
        #expect(try await last.ask(["rate", "root"]).status == 0)
        try await waitUntil("it moves") {
            try await last.exports().allSatisfy { ["moved", "released"].contains($0["state"] as? String) }
        }
        #expect(try await last.stop() == 0)
        #expect(try await back.stop() == 0)
    }

    @Test(
        "A disk after the switchover -> never put aside, whatever the count"
    )
    func handedOver() async throws {
        try await interrupt()
        try await endTwice()
        let kept = try records("migrating-").map { (name: $0, data: try scratch.data("s/state/\($0)")) }
        let back = try await destination()
        let node = try await source()
        #expect(try await node.ask(["migrate", "root", "log", "--to", "127.0.0.1:\(port)"]).status == 0)
        try await node.kill()
        // As if the node had ended after the commit record, before it deleted the request.
        for (name, data) in kept { try data.write(to: URL(fileURLWithPath: scratch.file("s/state/\(name)"))) }
        let next = try await source()
        #expect(!next.messages.contains("put aside"), "\(next.messages)")
        #expect(try records("migrating-").isEmpty)
        try await waitUntil("it is forwarded") {
            try await next.exports().allSatisfy { ["moved", "released"].contains($0["state"] as? String) }
        }
        #expect(try await next.stop() == 0)
        #expect(try await back.stop() == 0)
    }

    @Test("A clean stop -> not counted")
    func stopped() async throws {
        try await interrupt()
        let node = try await source()
        #expect(try await node.stop() == 0)
        #expect(try records("migrating-").isEmpty)
    }
}
