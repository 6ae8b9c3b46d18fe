import Foundation
import TestSupport
import Testing

@Suite("A switchover that fails at the last moment", .timeLimit(.minutes(5)), .enabled(if: SmallFileSystem.isPossible))
struct LateFailureTests {
    @Test("The commit fails after all data was sent -> the destination keeps nothing")
    func stays() async throws {
        let scratch = Scratch()
        let folder = scratch.file("s")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let small = try SmallFileSystem(on: "\(folder)/state")
        defer { small.unmount() }
        let port = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: 2)
        let images = scratch.file("images")
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", images])
        let source = try await NodeProcess(folder, [scratch.file("disk.raw"), "--export", "disk"])
        let begun = try await source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(port)", "--switch", "manual", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it could go") { try await source.ask(["status"]).output.contains("waiting") }
        // From here on no record can be written.
        let filled = try await Command.run("/bin/dd", "if=/dev/zero", "of=\(small.path)/ballast", "bs=4k")
        #expect(filled.errors.contains("No space left"), "\(filled.errors)")
        #expect(try await source.ask(["switch", "disk"]).status == 0)
        try await waitUntil("it stays") { try await source.exports().first?["state"] as? String == "serving" }
        try await waitUntil("the destination knows") { try await destination.exports().isEmpty }
        #expect(try FileManager.default.contentsOfDirectory(atPath: images) == [])
        let listed = try await destination.ask(["record", "list", "--state", "\(destination.folder)/state"])
        #expect(!listed.output.contains("disk"), "\(listed.output)")
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    private static let canInject = geteuid() == 0 && access("/usr/bin/strace", X_OK) == 0

    @Test(
        "Source lost before it reports the outcome -> the disk waits, is shown, and can be dropped",
        .enabled(if: canInject), arguments: [false, true])
    func sourceIsGone(isRestarted: Bool) async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        try await nodes.beginWaitingMigration()
        let log = nodes.scratch.file("strace")
        try Data().write(to: URL(fileURLWithPath: log))
        let tracer = try ChildProcess(
            "/usr/bin/strace",
            [
                "-f", "-p", "\(nodes.source.processIdentifier)", "-o", "/dev/null", "-e", "trace=fsync", "-P",
                "\(nodes.source.folder)/state", "-e", "inject=fsync:error=EIO",
            ], errors: log)
        try await waitUntil("strace is attached") {
            try String(contentsOfFile: log, encoding: .utf8).contains("attached")
        }
        #expect(try await nodes.source.ask(["switch", "disk"]).status == 0)
        try await nodes.source.wait(for: "whether it has moved is not known")
        try await nodes.source.kill()
        _ = try await onThread { tracer.waitUntilExit() }
        if isRestarted { try await nodes.restartDestination() }
        try await waitUntil("it is shown") {
            let shown = try await nodes.destination.exports().first
            return shown?["state"] as? String == "incoming"
                && (shown?["problem"] as? String)?.contains("--source-is-gone") == true
        }
        let refused = try await nodes.destination.ask(["cancel", "disk"])
        #expect(refused.status == 1 && refused.errors.contains("--source-is-gone"), "\(refused)")
        let dropped = try await nodes.destination.ask(["cancel", "disk", "--source-is-gone"])
        #expect(dropped.status == 0, "\(dropped)")
        #expect(try await nodes.destination.exports().isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: nodes.images) == [])
        #expect(try await nodes.destination.stop() == 0)
    }
}
