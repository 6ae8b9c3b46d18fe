import Foundation
import TestSupport
import Testing

@Suite("A hand-over that fails at the last moment", .timeLimit(.minutes(5)), .enabled(if: SmallFileSystem.isPossible))
struct LateFailureTests {
    @Test("A destination that has everything is told that the disk stays, and keeps nothing of it")
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
        // No record can be written any more.
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
}
