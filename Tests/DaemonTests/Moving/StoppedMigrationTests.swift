import Foundation
import TestSupport
import Testing

@Suite("SIGTERM while disks move", .timeLimit(.minutes(15)))
struct StoppedMigrationTests {
    /// Two nodes for one run, with two disks at the source.
    private final class Run: Sendable {
        let scratch = Scratch()
        let port: UInt16
        let disks: [String]

        init(disks: [String]) throws {
            port = try FreePort.find()
            self.disks = disks
            var lines = ""
            for (name, size) in [("root", 4), ("log", 2)] {
                try scratch.makeImage("\(name).raw", megabytes: size)
                lines += "[export \(name)]\nimage = \(scratch.file("\(name).raw"))\n"
            }
            try Data(lines.utf8).write(to: URL(fileURLWithPath: scratch.file("source.conf")))
        }

        func source() async throws -> NodeProcess {
            try await NodeProcess(scratch.file("s"), ["--config", scratch.file("source.conf")])
        }

        func destination() async throws -> NodeProcess {
            try await NodeProcess(
                scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        }

        func migrate(from node: NodeProcess, _ options: [String]) async throws -> Command.Result {
            try await node.ask(["migrate"] + disks + ["--to", "127.0.0.1:\(port)"] + options)
        }

        /// All files except the lock of a state directory, which stays.
        func files(_ folder: String) throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: scratch.file(folder)).filter { $0 != "lock" }
        }

        /// Whether the disks have been switched over, by the source's durable records.
        var hasMoved: Bool { get throws { try files("s/state").contains { $0.hasPrefix("moved-") } } }

        func expectQuiet(_ node: NodeProcess, _ what: String) {
            for word in ["Cannot schedule", " error ", "ERROR", "Fatal"] {
                #expect(!node.messages.contains(word), "\(what): \(node.messages)")
            }
        }

        func expectMoved(at node: NodeProcess, _ what: String) async throws {
            try await waitUntil("\(what): all is there") {
                try await node.exports().allSatisfy { export in
                    !disks.contains(export["export"] as? String ?? "")
                        || ["moved", "released"].contains(export["state"] as? String)
                }
            }
        }
    }

    /// Writes numbered blocks, each flushed before its number is recorded, until told to stop.
    private struct Writer {
        let process: ChildProcess
        let log: String

        init(_ run: Run, _ node: NodeProcess) throws {
            log = run.scratch.file("acknowledged")
            try Data().write(to: URL(fileURLWithPath: log))
            let script = """
                import nbd, os, sys
                out = os.open(sys.argv[2], os.O_WRONLY)
                h = nbd.NBD()
                h.connect_uri(sys.argv[1])
                n = 0
                while True:
                    n += 1
                    h.pwrite(n.to_bytes(8, 'little') * 512, n % 64 * 4096)
                    h.flush()
                    os.pwrite(out, n.to_bytes(8, 'little'), 0)
                """
            process = try ChildProcess("/usr/bin/python3", ["-c", script, node.uri("root"), log])
        }

        var last: UInt64 {
            get throws {
                let bytes = try Data(contentsOf: URL(fileURLWithPath: log))
                return bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }
        }

        /// Ends the writer, and checks the blocks that it recorded as safe.
        func expectWritten(in image: String, _ what: String) async throws {
            process.signal(SIGKILL)
            _ = try await onThread { process.waitUntilExit() }
            let last = try last
            guard last > 0 else { return }
            let contents = try Data(contentsOf: URL(fileURLWithPath: image))
            let start = Int(last % 64) * 4096
            let block = withUnsafeBytes(of: last.littleEndian) { Data($0) }
            // The next write of that block comes 64 writes later.
            #expect(contents[start..<start + 8] == block, "\(what): write \(last) was acknowledged and flushed")
        }
    }

    /// Actions of a run, chosen by its number and at random.
    private struct Plan {
        let disks: [String]
        let options: [String]
        let delay: Duration
        let hasClient: Bool
        let what: String

        init(_ number: Int, _ random: inout Seeded) {
            disks = number % 3 == 2 ? ["root", "log"] : ["root"]
            hasClient = number % 2 == 0
            // Some runs end just before or after the switchover.
            let isSlow = number % 4 != 3
            let switchover = ["converged", "manual", "now"][Int.random(in: 0..<3, using: &random)]
            options = (isSlow ? ["--rate", "8M"] : []) + ["--switch", switchover, "--detach"]
            let milliseconds = Int.random(in: 0..<(isSlow ? 900 : 300), using: &random)
            delay = .milliseconds(milliseconds)
            what = "run \(number): \(disks) \(options) \(milliseconds) ms, client: \(hasClient)"
        }
    }

    @Test("At the source, twenty runs -> cancelled at both nodes, or switched over and finished later")
    func source() async throws {
        var random = Seeded.fresh()
        var heard = 0
        for number in 0..<20 {
            let plan = Plan(number, &random)
            let run = try Run(disks: plan.disks)
            let destination = try await run.destination()
            let first = try await run.source()
            let writer = plan.hasClient ? try Writer(run, first) : nil
            if let writer { try await waitUntil("it writes") { try writer.last > 0 } }
            let begun = try await run.migrate(from: first, plan.options)
            #expect(begun.status == 0, "\(plan.what): \(begun.errors)")
            try await Task.sleep(for: plan.delay)
            #expect(try await first.stop() == 0, "\(plan.what)")
            run.expectQuiet(first, plan.what)

            let hasMoved = try run.hasMoved
            if hasMoved {
                let second = try await run.source()
                try await run.expectMoved(at: second, plan.what)
                try await writer?.expectWritten(in: run.scratch.file("images/root.raw"), plan.what)
                #expect(try await second.stop() == 0, "\(plan.what)")
            } else {
                // A destination that could not answer in time learns of it at the next attempt.
                let left = try run.files("s/state").filter { $0 != "completed.json" }
                #expect(left.allSatisfy { $0.hasPrefix("attempt-") }, "\(plan.what): \(left)")
                if left.isEmpty {
                    heard += 1
                    try await waitUntil("\(plan.what): nothing is left at the destination") {
                        try run.files("images").isEmpty && run.files("d/state").isEmpty
                    }
                    #expect(try await destination.exports().isEmpty, "\(plan.what)")
                }
                try await writer?.expectWritten(in: run.scratch.file("root.raw"), plan.what)
                let second = try await run.source()
                #expect(try await second.exports().allSatisfy { $0["state"] as? String == "serving" }, "\(plan.what)")
                let again = try await run.migrate(from: second, [])
                #expect(again.status == 0, "\(plan.what): \(again.errors)")
                for disk in run.disks {
                    let (here, there) = try (run.scratch.data("\(disk).raw"), run.scratch.data("images/\(disk).raw"))
                    #expect(here == there, "\(plan.what)")
                }
                #expect(try await second.stop() == 0, "\(plan.what)")
            }
            #expect(try await destination.stop() == 0, "\(plan.what)")
            run.expectQuiet(destination, plan.what)
            print("\(plan.what): \(hasMoved ? "switched over" : "cancelled")")
        }
        #expect(heard > 0, "a destination hears of it where it answers in time")
    }

    @Test("At the destination, six runs -> the migration goes on after its restart")
    func destination() async throws {
        var random = Seeded.fresh()
        for number in 0..<6 {
            let plan = Plan(number, &random)
            let run = try Run(disks: plan.disks)
            let first = try await run.destination()
            let source = try await run.source()
            let writer = plan.hasClient ? try Writer(run, source) : nil
            if let writer { try await waitUntil("it writes") { try writer.last > 0 } }
            let begun = try await run.migrate(from: source, plan.options)
            #expect(begun.status == 0, "\(plan.what): \(begun.errors)")
            try await Task.sleep(for: plan.delay)
            #expect(try await first.stop() == 0, "\(plan.what)")
            run.expectQuiet(first, plan.what)
            let second = try await run.destination()
            // The migration may have failed before it was accepted.
            let isOver = try await source.exports().allSatisfy { $0["state"] as? String == "serving" }
            if isOver {
                #expect(try await run.migrate(from: source, []).status == 0, "\(plan.what)")
            } else {
                _ = try await source.ask(["rate", "root"])
                _ = try await source.ask(["switch", "root"])
            }
            try await run.expectMoved(at: source, plan.what)
            try await writer?.expectWritten(in: run.scratch.file("images/root.raw"), plan.what)
            #expect(try await source.stop() == 0, "\(plan.what)")
            #expect(try await second.stop() == 0, "\(plan.what)")
            run.expectQuiet(source, plan.what)
            run.expectQuiet(second, plan.what)
            print("\(plan.what): went on: \(!isOver)")
        }
    }

    @Test("At the source, destination away -> it does not wait, and resumes nothing at its next start")
    func destinationAway() async throws {
        let run = try Run(disks: ["root", "log"])
        let gone = try await run.destination()
        let first = try await run.source()
        #expect(try await run.migrate(from: first, ["--rate", "1M", "--detach"]).status == 0)
        try await waitUntil("it copies") { try await first.ask(["status"]).output.contains("copying") }
        try await gone.kill()
        try await waitUntil("it waits") { try await first.ask(["status"]).output.contains("reconnecting") }
        #expect(try await first.stop() == 0)
        run.expectQuiet(first, "away")
        // The destination still has to learn of the failed attempt.
        #expect(try run.files("s/state").allSatisfy { $0.hasPrefix("attempt-") || $0 == "completed.json" })
        let second = try await run.source()
        #expect(try await second.exports().allSatisfy { $0["state"] as? String == "serving" })
        let back = try await run.destination()
        #expect(try await run.migrate(from: second, []).status == 0)
        #expect(try await second.stop() == 0)
        #expect(try await back.stop() == 0)
    }

    @Test("Cancel at the source between two attempts -> the disk is free once the command returns")
    func cancelledBetweenAttempts() async throws {
        let run = try Run(disks: ["root"])
        let gone = try await run.destination()
        let source = try await run.source()
        #expect(try await run.migrate(from: source, ["--rate", "1M", "--detach"]).status == 0)
        try await waitUntil("it copies") { try await source.ask(["status"]).output.contains("copying") }
        try await gone.kill()
        // Each attempt is followed by a longer delay: by now one that is longer than the cancel waits.
        try await waitUntil("it has tried often") {
            source.messages.components(separatedBy: "goes on when the destination answers").count > 6
        }
        #expect(try await source.ask(["cancel", "root"]).status == 0)
        #expect(try await source.exports().allSatisfy { $0["state"] as? String == "serving" })
        #expect(try await source.stop() == 0)
    }

    @Test("Ctrl-C on a waiting migrate -> a line says how to watch and cancel the migration")
    func interrupted() async throws {
        let run = try Run(disks: ["root"])
        let destination = try await run.destination()
        let source = try await NodeProcess(
            run.scratch.file("it's here"), ["--config", run.scratch.file("source.conf")])
        let errors = try run.scratch.write([], to: "errors")
        let waiting = try ChildProcess(
            Nearblock.path,
            ["migrate", "root", "--to", "127.0.0.1:\(run.port)", "--rate", "1M", "--control", source.control],
            errors: errors)
        try await waitUntil("it copies") { try await source.ask(["status"]).output.contains("copying") }
        waiting.signal(SIGINT)
        #expect(try await onThread { waiting.waitUntilExit() } == 130)
        let said = String(decoding: try run.scratch.contents("errors"), as: UTF8.self)
        #expect(said.filter { $0 == "\n" }.count == 1, "\(said)")
        #expect(try await source.ask(["status"]).output.contains("copying"), "it goes on")
        let parts = said.trimmingCharacters(in: .newlines).components(separatedBy: "cancel it with: ")
        try #require(parts.count == 2, "\(said)")
        #expect(parts[0].contains("nearblock status --control"), "\(said)")
        let folder = URL(fileURLWithPath: Nearblock.path).deletingLastPathComponent().path
        let cancelled = try await Command.run("bash", "-c", "PATH=\(folder):$PATH; \(parts[1])")
        #expect(cancelled.status == 0, "\(parts[1]): \(cancelled.errors)")
        try await waitUntil("it serves") { try await !source.ask(["status"]).output.contains("copying") }
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }
}
