import Foundation
import TestSupport
import Testing

@Suite("Read-only disks, between two nodes", .timeLimit(.minutes(10)))
struct ReadOnlyMigrationTests {
    private let scratch = Scratch()
    private let ports: (source: UInt16, destination: UInt16)

    init() throws {
        ports = (try FreePort.find(), try FreePort.find())
        try scratch.makeImage("disk.raw", megabytes: 8)
    }

    private func source() async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("s"),
            [
                scratch.file("disk.raw"), "--export", "disk", "--read-only", "--peer-listen",
                "127.0.0.1:\(ports.source)", "--images", scratch.file("s/images"),
            ])
    }

    private func destination() async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"),
            ["--peer-listen", "127.0.0.1:\(ports.destination)", "--images", scratch.file("images")])
    }

    private func migrate(from node: NodeProcess, to port: UInt16, _ options: String...) async throws -> Command.Result {
        try await node.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"] + options)
    }

    private func isReadOnly(_ node: NodeProcess) async throws -> Bool {
        try await Command.run("nbdinfo", "--is", "read-only", node.uri()).status == 0
    }

    private func expectRefusedWrite(through node: NodeProcess) async throws {
        let script = "h.connect_uri('\(node.uri())'); h.set_strict_mode(0); h.pwrite(b'x' * 4096, 0)"
        #expect(try await Command.run("nbdsh", "-c", script).status != 0)
    }

    @Test(
        "Another program writes to the image -> served read-only there, also after restarts; returns up to date",
        arguments: ["converged", "now"])
    func thereAndBack(switchover: String) async throws {
        let before = try scratch.data("disk.raw")
        // The other program holds the writer's lock.
        let writer = try await NodeProcess(scratch.file("w"), [scratch.file("disk.raw"), "--export", "disk"])
        let source = try await source()
        let first = try await destination()
        let moved = try await migrate(from: source, to: ports.destination, "--switch", switchover)
        #expect(moved.status == 0, "\(moved.errors)")
        #expect(try await isReadOnly(first))
        for node in [source, first] { try await expectRefusedWrite(through: node) }
        #expect(try scratch.data("disk.raw") == before)
        #expect(try scratch.data("images/disk.raw") == before)
        #expect(try await writer.stop() == 0)
        #expect(try await first.stop() == 0)

        var changed = before
        changed.replaceSubrange(1 << 20..<(1 << 20) + 65536, with: Data(repeating: 5, count: 65536))
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: scratch.file("images/disk.raw")))
        try file.seek(toOffset: 1 << 20)
        try file.write(contentsOf: changed[1 << 20..<(1 << 20) + 65536])
        try file.close()
        let second = try await destination()
        #expect(try await isReadOnly(second))
        try await expectRefusedWrite(through: second)

        let back = try await migrate(from: second, to: ports.source, "--switch", switchover)
        #expect(back.status == 0, "\(back.errors)")
        #expect(try scratch.data("disk.raw") == changed)
        #expect(try await isReadOnly(source))
        #expect(try await Command.run("nbdcopy", source.uri(), scratch.file("read")).status == 0)
        #expect(try scratch.data("read") == changed)
        // A reader must not lock others out of the image.
        let other = try await NodeProcess(scratch.file("w"), [scratch.file("disk.raw"), "--export", "disk"])
        #expect(try await other.stop() == 0)
        #expect(try await source.stop() == 0)
    }

    @Test("Before the switchover -> read-only at the destination, and --switch first-write is refused")
    func early() async throws {
        let source = try await source()
        let destination = try await destination()
        let refused = try await migrate(from: source, to: ports.destination, "--switch", "first-write")
        #expect(refused.status == 1 && refused.errors.contains("no first write"), "\(refused.errors)")
        let dry = try await migrate(from: source, to: ports.destination, "--dry-run")
        #expect(dry.status == 0, "\(dry.errors)")

        let begun = try await migrate(from: source, to: ports.destination, "--switch", "manual", "--detach")
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it waits") { try await source.ask(["status"]).output.contains("waiting") }
        #expect(try await isReadOnly(destination))
        #expect(try await source.ask(["switch", "disk"]).status == 0)
        try await waitUntil("it has moved") {
            try await ["moved", "released"].contains(source.exports().first?["state"] as? String)
        }
        #expect(try await isReadOnly(destination))
        #expect(try scratch.data("images/disk.raw") == scratch.data("disk.raw"))
    }
}
