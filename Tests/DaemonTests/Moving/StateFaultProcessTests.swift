import Foundation
import TestSupport
import Testing

@Suite("A failing or shared state directory", .timeLimit(.minutes(10)))
struct StateFaultProcessTests {
    @Test("A second node with one state directory -> refused, and told the owner; free after a kill")
    func twoNodes() async throws {
        let scratch = Scratch()
        try scratch.makeImage("a.raw", megabytes: 1)
        try scratch.makeImage("b.raw", megabytes: 1)
        let first = try await NodeProcess(scratch.file("s"), [scratch.file("a.raw")])
        let refused = try await Nearblock.run([
            "serve", scratch.file("b.raw"), "--state", "\(first.folder)/state", "--control", scratch.file("c"),
            "--socket",
            scratch.file("b.sock"),
        ])
        #expect(refused.status == 1)
        #expect(refused.errors.contains("is in use by another node (pid \(first.processIdentifier))"))
        #expect(refused.errors.contains("--state DIR"))
        let listed = try await Nearblock.run(["record", "list", "--state", "\(first.folder)/state"])
        #expect(listed.status == 0, "who only looks is not kept off: \(listed.errors)")
        // A node for one command gets no migrate commands, so it may share the directory.
        let short = try await Nearblock.run([
            "serve", scratch.file("b.raw"), "--state", "\(first.folder)/state", "--run", "true",
        ])
        #expect(short.status == 0, "\(short.errors)")
        try await first.kill()
        let second = try await NodeProcess(scratch.file("s"), [scratch.file("a.raw")])
        #expect(try await second.stop() == 0)
    }

    @Test(
        "Read-only state directory -> nothing moves; writable again -> everything does",
        .enabled(if: SmallFileSystem.isPossible))
    func readOnly() async throws {
        let scratch = Scratch()
        let folder = scratch.file("s")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let small = try SmallFileSystem(on: "\(folder)/state")
        defer { small.unmount() }
        let port = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        let source = try await NodeProcess(folder, [scratch.file("disk.raw"), "--export", "disk"])
        func remount(_ how: String) async throws {
            let result = try await Command.run("/bin/mount", "-o", "remount,\(how)", small.path)
            #expect(result.status == 0, "\(result.errors)")
        }
        let migrate = ["migrate", "disk", "--to", "127.0.0.1:\(port)"]
        try await remount("ro")
        let failed = try await source.ask(migrate)
        #expect(failed.status == 1)
        #expect(failed.errors.contains("Read-only file system"), "\(failed.errors)")
        #expect(try await source.exports().first?["state"] as? String == "serving")
        try await remount("rw")
        let moved = try await source.ask(migrate)
        #expect(moved.status == 0, "\(moved.errors)")
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    private static let canInject = geteuid() == 0 && access("/usr/bin/strace", X_OK) == 0

    /// Makes the kernel fail each flush of a node's state directory, until SIGINT.
    private func failFlushes(of node: NodeProcess, _ scratch: Scratch) async throws -> ChildProcess {
        let log = scratch.file("strace-\(UUID().uuidString.prefix(4))")
        try Data().write(to: URL(fileURLWithPath: log))
        let tracer = try ChildProcess(
            "/usr/bin/strace",
            [
                "-f", "-p", "\(node.processIdentifier)", "-o", "/dev/null", "-e", "trace=fsync", "-P",
                "\(node.folder)/state", "-e", "inject=fsync:error=EIO",
            ], errors: log)
        try await waitUntil("strace is attached") {
            try String(contentsOfFile: log, encoding: .utf8).contains("attached")
        }
        return tracer
    }

    @Test(
        "Source's state flush fails at the switchover -> the disk waits, and status says what to do",
        .enabled(if: canInject), arguments: [true, false])
    func doubt(isCancelled: Bool) async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        try await nodes.beginWaitingMigration()
        let tracer = try await failFlushes(of: nodes.source, nodes.scratch)
        #expect(try await nodes.source.ask(["switch", "disk"]).status == 0)
        try await waitUntil("it is in doubt") {
            (try await nodes.source.exports().first?["problem"] as? String)?.contains("is not known") == true
        }
        #expect(nodes.source.messages.contains("whether it has moved is not known"))
        let there = try await nodes.destination.exports()
        #expect(there.allSatisfy { ($0["state"] as? String) == "incoming" }, "\(there)")
        if isCancelled {
            let answer = try await nodes.source.ask(["cancel", "disk"])
            #expect(answer.status == 1)
            #expect(answer.errors.contains("is not known"), "\(answer.errors)")
            #expect(answer.errors.contains("has been given up"), "\(answer.errors)")
            #expect(!answer.errors.contains("nearblock cancel"), "that has been done: \(answer.errors)")
        }
        tracer.signal(SIGINT)
        _ = try await onThread { tracer.waitUntilExit() }
        try await waitUntil("the outcome is known") {
            let export = try await nodes.source.exports().first
            let isOver = ["serving", "moved", "released"].contains(export?["state"] as? String)
            return isOver && export?["problem"] == nil
        }
        let state = try await nodes.source.exports().first?["state"] as? String
        if isCancelled { #expect(state == "serving") }
        let records = try FileManager.default.contentsOfDirectory(atPath: "\(nodes.source.folder)/state")
        #expect(records.contains { $0.hasPrefix("moved-") } == (state != "serving"))
        // The next process reports the same.
        try await nodes.restartSource()
        let later = try await nodes.source.exports().first?["state"] as? String
        #expect((later == "serving") == (state == "serving"), "\(later ?? "nothing")")
        #expect(try await nodes.source.stop() == 0)
        #expect(try await nodes.destination.stop() == 0)
    }

    @Test(
        "Node killed with the switchover in doubt -> serves the disk only after the outcome is durable",
        .enabled(if: canInject))
    func killedInDoubt() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        try await nodes.beginWaitingMigration()
        let tracer = try await failFlushes(of: nodes.source, nodes.scratch)
        #expect(try await nodes.source.ask(["switch", "disk"]).status == 0)
        try await nodes.source.wait(for: "whether it has moved is not known")
        try await nodes.source.kill()
        _ = try await onThread { tracer.waitUntilExit() }
        let refused = try await Command.run(
            "/usr/bin/strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-P", "\(nodes.source.folder)/state", "-e",
            "inject=fsync:error=EIO", Nearblock.path, "serve", nodes.scratch.file("disk.raw"), "--export", "disk",
            "--state", "\(nodes.source.folder)/state", "--control", nodes.scratch.file("c"), "--socket",
            nodes.scratch.file("x.sock"))
        #expect(refused.status == 1)
        #expect(refused.errors.contains("Input/output error"), "\(refused.errors)")
        try await nodes.restartSource()
        let state = try await nodes.source.exports().first?["state"] as? String
        let records = try FileManager.default.contentsOfDirectory(atPath: "\(nodes.source.folder)/state")
        // A migration before its switchover goes on by itself.
        #expect(
            ["moved", "released", "moved, waiting for the destination"].contains(state)
                == records.contains { $0.hasPrefix("moved-") })
        #expect(try await nodes.source.stop() == 0)
        #expect(try await nodes.destination.stop() == 0)
    }
}
