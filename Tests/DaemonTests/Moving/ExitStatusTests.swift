import Foundation
import TestSupport
import Testing

/// Exit statuses of commands that wait for a migration, `nearblock wait`, and the reports that a node keeps.
@Suite("Exit statuses and kept reports", .timeLimit(.minutes(10)))
struct ExitStatusTests {
    /// Runs a command whose end is waited for later.
    private func begin(_ node: NodeProcess, _ arguments: [String]) -> Task<Command.Result, any Error> {
        Task { try await node.ask(arguments) }
    }

    private func completed(_ node: NodeProcess) async throws -> [[String: Any]] {
        let result = try await node.ask(["status", "--completed", "--json"])
        let answer = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        #expect(answer?["version"] as? Int == 1)
        return try #require(answer?["completed"] as? [[String: Any]])
    }

    private func slowly(_ nodes: TwoNodes) -> [String] {
        ["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--rate", "100K"]
    }

    private func waitUntilRecorded(_ nodes: TwoNodes) async throws {
        try await waitUntil("it is recorded") {
            FileManager.default.fileExists(atPath: "\(nodes.source.folder)/state/completed.json")
        }
    }

    @Test("Cancel -> migrate and wait exit with 3, and the end is kept over a restart")
    func cancelled() async throws {
        let nodes = try await TwoNodes()
        let migrating = begin(nodes.source, slowly(nodes))
        try await waitUntil("it copies") { try await nodes.source.ask(["status"]).output.contains("copying") }
        let waiting = begin(nodes.source, ["wait", "disk"])
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        for ended in [migrating, waiting] {
            let result = try await ended.value
            #expect(result.status == 3 && result.errors.contains("cancelled"), "\(result)")
        }
        #expect(try await nodes.source.ask(["wait", "disk"]).status == 3, "the latest one counts")
        #expect(try await nodes.source.ask(["wait"]).status == 0, "none runs")
        let last = try await nodes.source.exports()[0]["lastMigration"] as? [String: Any]
        #expect(last?["state"] as? String == "cancelled")
        #expect(try await nodes.source.ask(["status"]).output.contains("cancelled"))
        try await waitUntilRecorded(nodes)
        try await nodes.restartSource()
        #expect(try await completed(nodes.source).map { $0["state"] as? String } == ["cancelled"])
        #expect(try await nodes.source.ask(["wait", "disk"]).status == 3)
    }

    @Test("Cancel at the destination -> migrate exits with 3")
    func cancelledThere() async throws {
        let nodes = try await TwoNodes()
        let migrating = begin(nodes.source, slowly(nodes))
        try await waitUntil("it arrives") { nodes.destination.messages.contains("disk is arriving") }
        #expect(try await nodes.destination.ask(["cancel", "disk"]).status == 0)
        #expect(try await migrating.value.status == 3)
        #expect(try await nodes.destination.ask(["wait", "disk"]).status == 1, "it does not come")
    }

    @Test("No node at --to -> 4; a name that is taken -> 5")
    func refused() async throws {
        let nodes = try await TwoNodes()
        let port = try FreePort.find()
        let unreachable = try await nodes.source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
        #expect(unreachable.status == 4 && unreachable.errors.contains("cannot reach"), "\(unreachable)")
        try Data("other".utf8).write(to: URL(fileURLWithPath: "\(nodes.images)/disk.raw"))
        let refused = try await nodes.migrate()
        #expect(refused.status == 5 && refused.errors.contains("exists already"), "\(refused)")
        #expect(try await completed(nodes.source).map { $0["state"] as? String } == ["unreachable", "refused"])
        #expect(try await nodes.source.ask(["wait", "none"]).status == 1)
        #expect(try await nodes.source.ask(["wait", "disk", "--for", "never"]).status == 2)
    }

    @Test("The node is killed -> migrate exits with 8")
    func unfinished() async throws {
        let nodes = try await TwoNodes()
        let migrating = begin(nodes.source, slowly(nodes))
        try await waitUntil("it copies") { try await nodes.source.ask(["status"]).output.contains("copying") }
        try await nodes.source.kill()
        let result = try await migrating.value
        #expect(result.status == 8 && result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
    }

    @Test("A detached migration -> switch --wait and wait at both nodes succeed, and its report is kept over a restart")
    func detached() async throws {
        let nodes = try await TwoNodes()
        try await nodes.beginWaitingMigration()
        let there = begin(nodes.destination, ["wait", "disk"])
        let switched = try await nodes.source.ask(["switch", "disk", "--wait"])
        #expect(switched.status == 0, "\(switched)")
        let condition = try #require(try await nodes.source.exports()[0]["condition"] as? String)
        #expect(["moved", "released", "unreachable"].contains(condition))
        let waited = try await nodes.source.ask(["wait", "disk", "--json"])
        #expect(waited.status == 0 && waited.output.contains(#""state":"complete""#), "\(waited)")
        #expect(try await there.value.status == 0)
        #expect(try await nodes.source.exports()[0]["sourceNeeded"] as? Bool == false)
        try await waitUntilRecorded(nodes)
        try await nodes.restartSource()
        let kept = try #require(try await completed(nodes.source).first)
        #expect(kept["state"] as? String == "complete")
        let report = try #require(kept["report"] as? [String: Any])
        #expect(waited.output.contains(try #require(report["root"] as? String)))
        let text = try await nodes.source.ask(["status", "--completed"]).output
        #expect(text.contains("complete") && text.contains("to 127.0.0.1:\(nodes.port)"), "\(text)")
        #expect(try await nodes.source.ask(["wait", "disk"]).status == 0)
    }

    @Test("A failed detached migration -> its reason is in status and in wait")
    func failedDetached() async throws {
        let nodes = try await TwoNodes()
        try Data("other".utf8).write(to: URL(fileURLWithPath: "\(nodes.images)/disk.raw"))
        let begun = try await nodes.source.ask(["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--detach"])
        #expect(begun.status == 0, "\(begun)")
        let waited = try await nodes.source.ask(["wait", "disk"])
        #expect(waited.status == 5 && waited.errors.contains("exists already"), "\(waited)")
        let words = try await nodes.source.ask(["status"]).output.split { $0 == " " || $0 == "\n" }
        #expect(words.joined(separator: " ").contains("exists already; move it away"), "\(words)")
    }

    @Test("Blocks are missing and both nodes start again -> the source is needed, at both; then it is not")
    func sourceNeeded() async throws {
        let nodes = try await TwoNodes(megabytes: 2)
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "now", "--rate", "100K", "--detach",
        ])
        #expect(begun.status == 0, "\(begun)")
        func isNeeded(_ node: NodeProcess) async throws -> Bool? {
            try await node.exports().first?["sourceNeeded"] as? Bool
        }
        try await waitUntil("it is needed") {
            let needs = try await (isNeeded(nodes.source), isNeeded(nodes.destination))
            return needs == (true, true)
        }
        try await nodes.restartSource()
        try await nodes.restartDestination()
        #expect(try await isNeeded(nodes.source) == true)
        #expect(try await isNeeded(nodes.destination) == true)
        let waiting = [begin(nodes.source, ["wait", "disk"]), begin(nodes.destination, ["wait", "disk"])]
        try await waitUntil("the limit is gone") { try await nodes.source.ask(["rate", "disk"]).status == 0 }
        for wait in waiting {
            let result = try await wait.value
            #expect(result.status == 0, "\(result)")
        }
        #expect(try await isNeeded(nodes.source) == false)
        #expect(try await isNeeded(nodes.destination) == nil)
    }

    @Test("Progress as JSON -> lines of progress on standard output, and the report last")
    func progressLines() async throws {
        let nodes = try await TwoNodes(megabytes: 4)
        let result = try await nodes.migrate(["--rate", "16M", "--progress", "json"])
        #expect(result.status == 0, "\(result)")
        let lines = try result.output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(lines.count >= 2 && lines.last?["state"] as? String == "complete", "\(result.output)")
        #expect(lines.dropLast().allSatisfy { $0["version"] as? Int == 1 && $0["progress"] is [String: Any] })
        let plain = try await nodes.source.ask(["migrate", "disk", "--to", "127.0.0.1:1", "--progress", "json"])
        #expect(plain.status == 2 && plain.errors.contains("--json"), "\(plain)")
    }
}
