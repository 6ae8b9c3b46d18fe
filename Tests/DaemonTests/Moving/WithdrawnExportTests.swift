import Foundation
import TestSupport
import Testing

/// A disk that has moved, and whose section the operator takes out of the configuration.
@Suite("Moved disks out of the configuration", .timeLimit(.minutes(5)))
struct WithdrawnExportTests {
    private let scratch = Scratch()

    @Test("Section removed after the move -> stays while it has a client, then is not offered, without a restart")
    func withdrawn() async throws {
        let port = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: 2)
        _ = try scratch.write(Array("[export disk]\nimage = \(scratch.file("disk.raw"))\n".utf8), to: "s.conf")
        let source = try await NodeProcess(scratch.file("s"), ["--config", scratch.file("s.conf")])
        let destination = try await NodeProcess(
            scratch.file("d"), ["--images", scratch.file("images"), "--peer-listen", "127.0.0.1:\(port)"])
        let moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
        #expect(moved.status == 0, "\(moved.errors)")
        try await waitUntil("the link stands") {
            try await ["moved", "released"].contains(source.exports().first?["state"] as? String)
        }

        let client = try ChildProcess(
            "/usr/bin/python3",
            ["-c", "import nbd, time; h = nbd.NBD(); h.connect_uri('\(source.uri())'); time.sleep(600)"])
        try await waitUntil("it is connected") { try await source.exports().first?["clients"] as? Int == 1 }
        _ = try scratch.write(Array("[node]\n".utf8), to: "s.conf")
        let used = try await source.ask(["reload"])
        #expect((used.output + used.errors).contains("stays as it is; reload again once"), "\(used)")
        #expect(try await source.exports().count == 1)

        client.signal(SIGKILL)
        try await waitUntil("the client is gone") { try await source.exports().first?["clients"] as? Int == 0 }
        let free = try await source.ask(["reload"])
        #expect((free.output + free.errors).contains("no longer offered: it has moved"), "\(free)")
        #expect(try await source.exports().isEmpty)
        #expect(try await Command.run("nbdinfo", source.uri()).status != 0)
        try await waitUntil("nothing forwards to it") {
            try await destination.ask(["export", "forget", "disk"]).status == 0
        }

        // In the configuration again, it is still the copy of a disk that has moved.
        _ = try scratch.write(Array("[export disk]\nimage = \(scratch.file("disk.raw"))\n".utf8), to: "s.conf")
        _ = try await source.ask(["reload"])
        let state = try await source.exports().first?["state"] as? String
        #expect(state?.hasPrefix("moved") == true, "\(state ?? "none")")
    }
}
