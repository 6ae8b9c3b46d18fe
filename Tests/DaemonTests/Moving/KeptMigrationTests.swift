import Foundation
import TestSupport
import Testing

@Suite("SIGTERM with --keep-migrations", .timeLimit(.minutes(10)))
struct KeptMigrationTests {
    private let scratch = Scratch()
    private let port: UInt16

    init() throws {
        port = try FreePort.find()
        var lines = ""
        for name in ["root", "log"] {
            try scratch.makeImage("\(name).raw", megabytes: 4)
            lines += "[export \(name)]\nimage = \(scratch.file("\(name).raw"))\n"
        }
        lines += "[node]\nkeep-migrations = true\n"
        try Data(lines.utf8).write(to: URL(fileURLWithPath: scratch.file("source.conf")))
    }

    private func source() async throws -> NodeProcess {
        try await NodeProcess(scratch.file("s"), ["--config", scratch.file("source.conf")])
    }

    private func destination() async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
    }

    private func waitUntilCopying(_ node: NodeProcess) async throws {
        try await waitUntil("it copies") { try await node.ask(["status"]).output.contains("copying") }
    }

    @Test("More restarts in a row than crashes are allowed -> goes on each time, and both disks arrive whole")
    func restarts() async throws {
        let destination = try await destination()
        var node = try await source()
        let begun = try await node.ask(
            ["migrate", "root", "log", "--to", "127.0.0.1:\(port)", "--rate", "8M", "--detach"])
        #expect(begun.status == 0, "\(begun)")
        for life in 1...10 {
            if life.isMultiple(of: 2) { try await waitUntilCopying(node) }
            #expect(try await node.stop() == 0)
            #expect(!node.messages.contains("ERROR") && !node.messages.contains("error"), "\(node.messages)")
            node = try await source()
            #expect(node.messages.contains("goes on"), "life \(life): \(node.messages)")
        }
        #expect(try await node.ask(["rate", "root"]).status == 0)
        try await waitUntil("all is there") {
            try await node.exports().allSatisfy { ["moved", "released"].contains($0["state"] as? String) }
        }
        for disk in ["root", "log"] {
            #expect(try scratch.data("\(disk).raw") == scratch.data("images/\(disk).raw"), "\(disk)")
        }
        #expect(try await node.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("An image that is there later than the node -> the migration of both disks waits for it, and goes on")
    func lateImage() async throws {
        let destination = try await destination()
        let first = try await source()
        let begun = try await first.ask(
            ["migrate", "root", "log", "--to", "127.0.0.1:\(port)", "--rate", "8M", "--detach"])
        #expect(begun.status == 0, "\(begun)")
        try await waitUntilCopying(first)
        #expect(try await first.stop() == 0)
        let (path, elsewhere) = (scratch.file("log.raw"), scratch.file("elsewhere.raw"))
        #expect(rename(path, elsewhere) == 0)
        let second = try await source()
        try await second.wait(for: "waits for log")
        #expect(rename(elsewhere, path) == 0)
        try await second.wait(for: "goes on")
        #expect(try await second.ask(["rate", "root"]).status == 0)
        try await waitUntil("all is there") {
            try await second.exports().allSatisfy { ["moved", "released"].contains($0["state"] as? String) }
        }
        for disk in ["root", "log"] {
            #expect(try scratch.data("\(disk).raw") == scratch.data("images/\(disk).raw"), "\(disk)")
        }
        #expect(try await second.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("What was sent before a restart -> is not sent again")
    func keepsWhatWasSent() async throws {
        let destination = try await destination()
        let first = try await source()
        #expect(
            try await first.ask(["migrate", "root", "--to", "127.0.0.1:\(port)", "--rate", "8M", "--detach"]).status
                == 0)
        try await waitUntil("a good part is there") {
            let progress = try await first.exports().first { $0["export"] as? String == "root" }?["progress"]
            return ((progress as? [String: Any])?["wire"] as? Int ?? 0) > 2 << 20
        }
        #expect(try await first.stop() == 0)
        let second = try await source()
        var sent = 0
        try await waitUntil("it has moved") {
            let export = try await second.exports().first { $0["export"] as? String == "root" }
            sent = max(sent, (export?["progress"] as? [String: Any])?["wire"] as? Int ?? 0)
            return ["moved", "released"].contains(export?["state"] as? String)
        }
        #expect((1..<(3 << 20)).contains(sent), "of 4 MiB at most 2 MiB were missing: \(sent)")
        #expect(try scratch.data("root.raw") == scratch.data("images/root.raw"))
        #expect(try await second.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("A command that waits -> is told that the migration goes on; a cancel after the restart still works")
    func tellsAndCancels() async throws {
        let destination = try await destination()
        let first = try await source()
        let errors = try scratch.write([], to: "errors")
        let waiting = try ChildProcess(
            Nearblock.path,
            ["migrate", "root", "--to", "127.0.0.1:\(port)", "--rate", "1M", "--control", first.control], errors: errors
        )
        try await waitUntilCopying(first)
        #expect(try await first.stop() == 0)
        #expect(try await onThread { waiting.waitUntilExit() } == 8)
        let said = String(decoding: try scratch.contents("errors"), as: UTF8.self)
        #expect(said.contains("goes on when it is started again") && said.filter { $0 == "\n" }.count == 1, "\(said)")
        let second = try await source()
        try await waitUntilCopying(second)
        #expect(try await second.ask(["cancel", "root"]).status == 0)
        #expect(try await second.stop() == 0)
        let third = try await source()
        #expect(!third.messages.contains("goes on"), "\(third.messages)")
        #expect(try await third.exports().allSatisfy { $0["state"] as? String == "serving" })
        #expect(try await third.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("The destination is away -> the node ends at once, and the next one waits for the destination")
    func destinationAway() async throws {
        let gone = try await destination()
        let first = try await source()
        #expect(
            try await first.ask(["migrate", "root", "log", "--to", "127.0.0.1:\(port)", "--rate", "8M", "--detach"])
                .status
                == 0)
        try await waitUntilCopying(first)
        try await gone.kill()
        try await waitUntil("it waits") { try await first.ask(["status"]).output.contains("reconnecting") }
        #expect(try await first.stop() == 0)
        let second = try await source()
        #expect(second.messages.contains("goes on"), "\(second.messages)")
        let back = try await destination()
        try await waitUntil("all is there") {
            try await second.exports().allSatisfy { ["moved", "released"].contains($0["state"] as? String) }
        }
        #expect(try await second.stop() == 0)
        #expect(try await back.stop() == 0)
    }
}
