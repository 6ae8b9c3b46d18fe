import Foundation
import TestSupport
import Testing

@Suite("Several disks of one guest, between two nodes", .timeLimit(.minutes(10)))
struct GuestDisksTests {
    private let scratch = Scratch()

    /// A source with two disks, which can be restarted.
    private func source() async throws -> NodeProcess {
        let configuration = scratch.file("source.conf")
        let lines = ["root", "log"].map { "[export \($0)]\nimage = \(scratch.file("\($0).raw"))\n" }
        try Data(lines.joined().utf8).write(to: URL(fileURLWithPath: configuration))
        return try await NodeProcess(scratch.file("s"), ["--config", configuration])
    }

    private func destination(_ port: UInt16) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
    }

    private func states(of node: NodeProcess) async throws -> [String: String] {
        Dictionary(
            uniqueKeysWithValues: try await node.exports().map { ($0["export"] as! String, $0["state"] as! String) })
    }

    @Test("Two disks -> refused, cancelled, resumed after a kill, and moved together")
    func together() async throws {
        try scratch.makeImage("root.raw", megabytes: 16)
        try scratch.makeImage("log.raw", megabytes: 1)
        try scratch.makeImage("other.raw", megabytes: 16)
        let port = try FreePort.find()
        let destination = try await destination(port)
        let first = try await source()
        let command = ["migrate", "root", "log", "--to", "127.0.0.1:\(port)"]

        let twice = try await first.ask(["migrate", "root", "root", "--to", "127.0.0.1:\(port)"])
        #expect(twice.status == 1 && twice.errors.contains("each export once"))
        let unknown = try await first.ask(["migrate", "root", "swap", "--to", "127.0.0.1:\(port)"])
        #expect(unknown.status == 1 && unknown.errors.contains("no export 'swap'"))
        #expect(try await states(of: first) == ["root": "serving", "log": "serving"])

        #expect(try await first.ask(command + ["--switch", "manual", "--detach"]).status == 0)
        try await waitUntil("they wait") { try await states(of: first) == ["root": "waiting", "log": "waiting"] }
        #expect(try await first.ask(["cancel", "log"]).status == 0)
        try await waitUntil("both are given up") {
            try await states(of: first) == ["root": "serving", "log": "serving"]
        }

        // Use new data, so that no earlier copy helps.
        #expect(try await Command.run("nbdcopy", [scratch.file("other.raw"), first.uri("root")]).status == 0)
        #expect(try await first.ask(command + ["--rate", "4M", "--detach"]).status == 0)
        try await waitUntil("the small one waits for the big one") { try await states(of: first)["log"] == "waiting" }
        #expect(try await states(of: first)["root"] == "copying")
        let taken = try await first.ask(command)
        #expect(taken.status == 1 && taken.errors.contains("being migrated"))
        try await first.kill()

        let second = try await source()
        #expect(second.messages.contains("goes on"))
        #expect(try await second.ask(["rate", "log", "800M"]).status == 0)
        try await waitUntil("both have moved") { try await states(of: second) == ["root": "moved", "log": "moved"] }
        #expect(try await states(of: destination) == ["root": "serving", "log": "serving"])
        for name in ["root", "log"] {
            #expect(try scratch.data("images/\(name).raw") == scratch.data("\(name).raw"))
        }
        #expect(try await second.stop() == 0)
        let third = try await source()
        #expect(try await states(of: third).values.allSatisfy { $0.hasPrefix("moved") })
    }

    @Test(
        "A block received for one disk -> not sent again for another, at the same time or later",
        arguments: [true, false])
    func shared(atOnce: Bool) async throws {
        try scratch.makeImage("root.raw", megabytes: 6)
        var log = try scratch.data("root.raw")
        log.replaceSubrange(0..<4096, with: Data(repeating: 5, count: 4096))
        try log.write(to: URL(fileURLWithPath: scratch.file("log.raw")))
        let port = try FreePort.find()
        let destination = try await destination(port)
        let source = try await source()
        var reports: [[String: Any]] = []
        for disks in atOnce ? [["root", "log"]] : [["root"], ["log"]] {
            let moved = try await source.ask(["migrate"] + disks + ["--to", "127.0.0.1:\(port)", "--json"])
            #expect(moved.status == 0, "\(moved.errors)")
            for line in moved.output.split(separator: "\n") {
                reports.append(try JSONSerialization.jsonObject(with: Data(line.utf8)) as! [String: Any])
            }
        }
        let ledgers = reports.map { $0["ledger"] as! [String: Int] }
        #expect(ledgers.count == 2)
        // Both disks may request the same block at the same moment.
        if !atOnce {
            // The cache has a fixed size, so one block may have displaced another.
            #expect(ledgers[1]["link"]! <= 16 * 4096, "\(ledgers)")
            #expect(ledgers[1]["neighbour"]! >= ledgers[0]["link"]! - 16 * 4096, "\(ledgers)")
        }
        for name in ["root", "log"] {
            #expect(try scratch.data("images/\(name).raw") == scratch.data("\(name).raw"))
        }
        #expect(try await destination.stop() == 0)
    }

    @Test("Two disks with --json -> a line for each")
    func reports() async throws {
        try scratch.makeImage("root.raw", megabytes: 2)
        try scratch.makeImage("log.raw", megabytes: 1)
        let port = try FreePort.find()
        let destination = try await destination(port)
        let source = try await source()
        let moved = try await source.ask(["migrate", "log", "root", "--to", "127.0.0.1:\(port)", "--json"])
        #expect(moved.status == 0, "\(moved.errors)")
        let reports = try moved.output.split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
        }
        #expect(reports.map { $0?["export"] as? String } == ["log", "root"])
        #expect(reports.allSatisfy { $0?["state"] as? String == "complete" })
        #expect(try await destination.stop() == 0)
    }
}
