import Foundation
import TestSupport
import Testing

/// Migrations of disks that are not raw files at their source.
@Suite("Migrating images that are not raw", .timeLimit(.minutes(10)))
struct FormatMigrationTests {
    private static let size = 16 << 20

    /// A qcow2 image with a backing file, an internal snapshot and random data in both.
    private static func layered(_ scratch: Scratch) async throws -> String {
        try scratch.makeImage("base.raw", megabytes: size >> 20)
        let top = scratch.file("top.qcow2")
        for (program, arguments) in [
            ("qemu-img", ["create", "-f", "qcow2", "-b", scratch.file("base.raw"), "-F", "raw", top]),
            ("qemu-io", ["-f", "qcow2", "-c", "write -P 1 1M 1M", top]),
            ("qemu-img", ["snapshot", "-c", "before", top]),
            ("qemu-io", ["-f", "qcow2", "-c", "write -P 2 1536k 2M", "-c", "write -z 5M 1M", top]),
        ] {
            let result = try await Command.run(program, arguments)
            #expect(result.status == 0, "\(result)")
        }
        return top
    }

    private static func section(_ image: String, _ rest: String) -> String {
        "[export disk]\nimage = \(image)\n\(rest)\n"
    }

    private func nodes(_ rest: String = "format = qcow2") async throws -> ConfiguredNodes {
        try await ConfiguredNodes { scratch in Self.section(try await Self.layered(scratch), rest) }
    }

    private func expectEqual(_ first: String, _ second: String, formats: (String, String)) async throws {
        let compared = try await Command.run(
            "qemu-img", "compare", "-U", "-f", formats.0, "-F", formats.1, first, second)
        #expect(compared.status == 0, "\(compared)")
    }

    private func write(_ uri: String, _ byte: Int, _ place: String) async throws {
        let written = try await Command.run(
            "qemu-io", "-f", "raw", "-c", "write -P \(byte) \(place) 64k", "-c", "flush", uri)
        #expect(written.status == 0, "\(written)")
    }

    @Test(
        "qcow2 with a backing file and a snapshot -> moved, and back by what has changed",
        arguments: ["converged", "now"])
    func thereAndBack(switchover: String) async throws {
        let nodes = try await nodes()
        let (top, arrived) = (nodes.scratch.file("top.qcow2"), nodes.scratch.file("d/images/disk.raw"))
        let moved = try await nodes.migrate("disk", ["--switch", switchover, "--json"])
        #expect(moved.status == 0, "\(moved) \(nodes.source.messages)")
        try await expectEqual(top, arrived, formats: ("qcow2", "raw"))
        // Through the node that forwards now.
        try await write(nodes.source.uri(), 3, "8M")
        let back = try await nodes.moveBack("disk", ["--switch", switchover, "--json"])
        #expect(back.status == 0, "\(back) \(nodes.source.messages)")
        // The one write of 64 KiB, and nothing else of the disk.
        let report = try JSONSerialization.jsonObject(with: Data(back.output.utf8)) as? [String: Any]
        let (ledger, wire) = (report?["ledger"] as? [String: Any], report?["wire"] as? [String: Any])
        #expect(ledger?["present"] as? Int ?? 0 > 0, "\(back)")
        #expect((ledger?["link"] as? Int ?? .max) + (ledger?["repeated"] as? Int ?? .max) == 65536, "\(back)")
        #expect(wire?["total"] as? Int ?? .max < 131_072, "\(back)")
        #expect(try await nodes.state(of: "disk").hasPrefix("serving"))
        try await write(nodes.source.uri(), 4, "9M")
        #expect(try await nodes.source.stop() == 0)
        #expect(try await nodes.destination.stop() == 0)
        let check = try await Command.run(
            "qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -P 3 8M 64k", "-c", "read -P 4 9M 64k", "-c",
            "read -P 2 2M 1M",
            "-c", "read -P 0 5M 1M", top)
        #expect(check.status == 0 && !check.output.contains("verification failed"), "\(check)")
        // The snapshot is still what it was.
        #expect(try await Command.run("qemu-img", "check", top).status == 0)
        #expect(try await Command.run("qemu-img", "snapshot", "-l", top).output.contains("before"))
    }

    @Test("The source is killed after the switchover, and started again -> forwards; the image is known by its file")
    func restartAfterMove() async throws {
        let nodes = try await nodes()
        #expect(try await nodes.migrate("disk").status == 0)
        try await nodes.restartSource()
        try await write(nodes.source.uri(), 5, "1M")
        let check = try await Command.run(
            "qemu-io", "-r", "-U", "-f", "raw", "-c", "read -P 5 1M 64k", nodes.scratch.file("d/images/disk.raw"))
        #expect(check.status == 0 && !check.output.contains("verification failed"), "\(check)")
        // The same file as raw is another way to the same disk: nobody guesses.
        try await nodes.restartSource(Self.section(nodes.scratch.file("top.qcow2"), ""))
        try await nodes.source.wait(for: "nearblock record adopt")
    }

    @Test("The source is killed while it copies, and started again -> goes on, and the copy is right")
    func restartDuringCopy() async throws {
        let nodes = try await nodes()
        #expect(try await nodes.beginSlowly("disk"))
        try await nodes.restartSource()
        try await waitUntil("it goes on") { try await nodes.state(of: "disk").contains("copying") }
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it has moved") { try await nodes.state(of: "disk").contains("moved") }
        try await waitUntil("it is whole") { try await nodes.stateThere(of: "disk") == "serving " }
        try await expectEqual(
            nodes.scratch.file("top.qcow2"), nodes.scratch.file("d/images/disk.raw"), formats: ("qcow2", "raw"))
    }

    @Test("The helper is killed while the disk is copied and nobody writes -> the migration succeeds")
    func killedHelper() async throws {
        let nodes = try await nodes()
        #expect(try await nodes.beginSlowly("disk"))
        kill(try #require(Processes.with(argument: "\(nodes.state)/storage-").first), SIGKILL)
        try await nodes.source.wait(for: "it is started again")
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it has moved") { try await nodes.state(of: "disk").contains("moved") }
        try await waitUntil("it is whole") { try await nodes.stateThere(of: "disk") == "serving " }
        try await expectEqual(
            nodes.scratch.file("top.qcow2"), nodes.scratch.file("d/images/disk.raw"), formats: ("qcow2", "raw"))
    }

    @Test(
        "The source restarts while the disk is away; it comes back, and its helper loses writes -> the client hears of it"
    )
    func lossAfterReturn() async throws {
        let nodes = try await nodes("format = qcow2\ndirty-bitmap = backup")
        #expect(try await nodes.migrate("disk").status == 0)
        try await nodes.restartSource()
        let back = try await nodes.moveBack("disk")
        #expect(back.status == 0, "\(back)")
        for _ in 0..<2 { #expect(try await nodes.source.ask(["checkpoint", "disk"]).status == 0) }
        let helper = try #require(Processes.with(argument: "\(nodes.state)/storage-").first)
        let steps = """
            h.pwrite(b"z" * 65536, 12 << 20)
            import os; os.kill(\(helper), 9)
            try: h.flush(); print("flushed")
            except nbd.Error as e: print(e.errnum)
            """
        let client = try await Command.run("nbdsh", "-u", nodes.source.uri(), "-c", steps)
        #expect(client.output == "5\n", "\(client) \(nodes.source.messages)")
        #expect(try await nodes.source.ask(["checkpoint", "disk"]).status == 0)
        let map = try await Command.run("nbdinfo", "--map=qemu:dirty-bitmap:backup", nodes.source.uri())
        #expect(map.output.split(separator: "\n").count == 1 && map.output.contains(" 1 "), "\(map)")
    }

    @Test("The helper is killed with unflushed writes while the disk is copied -> read anew, and the copy is right")
    func killedHelperWithLosses() async throws {
        let nodes = try await nodes()
        #expect(try await nodes.beginSlowly("disk"))
        let helper = try #require(Processes.with(argument: "\(nodes.state)/storage-").first)
        let steps = """
            import nbd, os
            h = nbd.NBD(); h.connect_uri("\(nodes.source.uri())")
            h.pwrite(b"z" * 65536, 12 << 20)
            os.kill(\(helper), 9)
            try: h.flush(); print("flushed")
            except nbd.Error as e: print(e.errnum)
            h.pwrite(b"y" * 65536, 13 << 20); h.flush()
            """
        let script = try nodes.scratch.write(Array(steps.utf8), to: "client.py")
        let client = try await Command.run("python3", script)
        #expect(client.output == "5\n", "\(client) \(nodes.source.messages)")
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it has moved") { try await nodes.state(of: "disk").contains("moved") }
        try await waitUntil("it is whole") { try await nodes.stateThere(of: "disk") == "serving " }
        #expect(nodes.source.messages.contains("may have lost what was not flushed"), "\(nodes.source.messages)")
        #expect(try await nodes.source.stop() == 0)
        try await expectEqual(
            nodes.scratch.file("top.qcow2"), nodes.scratch.file("d/images/disk.raw"), formats: ("qcow2", "raw"))
    }

    // MARK: NBD URIs

    private static func serve(
        _ scratch: Scratch, _ options: [String] = [], _ parameters: [String] = []
    ) async throws -> (ChildProcess, String) {
        let socket = scratch.file("kit.sock")
        unlink(socket)
        let server = try ChildProcess(
            "/usr/bin/nbdkit", ["-f", "-U", socket] + options + ["file", scratch.file("disk.raw")] + parameters)
        let uri = "nbd+unix:///?socket=\(socket)"
        try await waitUntil("nbdkit answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        return (server, uri)
    }

    @Test("A read-only NBD URI -> imported by the same command")
    func imported() async throws {
        var server: ChildProcess?
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("disk.raw", megabytes: 8)
            let (process, uri) = try await Self.serve(scratch, ["-r"])
            server = process
            return Self.section(uri, "read-only = true")
        }
        let moved = try await nodes.migrate("disk")
        #expect(moved.status == 0, "\(moved) \(nodes.source.messages)")
        #expect(nodes.source.messages.contains("can't be known again after a restart"), "\(nodes.source.messages)")
        try await expectEqual(
            nodes.scratch.file("disk.raw"), nodes.scratch.file("d/images/disk.raw"), formats: ("raw", "raw"))
        server?.signal(SIGTERM)
    }

    @Test("A URI with an identity -> moved, forwarded after a restart, and comes back")
    func namedURI() async throws {
        var server: ChildProcess?
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("disk.raw", megabytes: 8)
            let (process, uri) = try await Self.serve(scratch)
            server = process
            return Self.section(uri, "identity = the disk")
        }
        #expect(try await nodes.migrate("disk").status == 0, "\(nodes.source.messages)")
        try await nodes.restartSource()
        try await write(nodes.source.uri(), 6, "1M")
        let back = try await nodes.moveBack("disk")
        #expect(back.status == 0, "\(back) \(nodes.source.messages)")
        try await write(nodes.source.uri(), 7, "2M")
        let check = try await Command.run(
            "qemu-io", "-r", "-U", "-f", "raw", "-c", "read -P 6 1M 64k", "-c", "read -P 7 2M 64k",
            nodes.scratch.file("disk.raw"))
        #expect(check.status == 0 && !check.output.contains("verification failed"), "\(check)")
        server?.signal(SIGTERM)
    }

    @Test("A URI without an identity has moved, and the node restarts -> not served until the operator decides")
    func namelessURI() async throws {
        var server: ChildProcess?
        var address = ""
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("disk.raw", megabytes: 8)
            let (process, uri) = try await Self.serve(scratch)
            (server, address) = (process, uri)
            return Self.section(uri, "")
        }
        #expect(try await nodes.migrate("disk").status == 0, "\(nodes.source.messages)")
        try await nodes.restartSource()
        try await nodes.source.wait(for: "nearblock record adopt \(address)")
        #expect(try await Command.run("nbdinfo", "--size", nodes.source.uri()).status != 0)
        // It is the same disk, and has a name from now on.
        let adopted = try await Nearblock.run(
            ["record", "adopt", address, "--identity", "the disk", "--state", nodes.state])
        #expect(adopted.status == 0, "\(adopted)")
        try await nodes.reload(Self.section(address, "identity = the disk"))
        try await write(nodes.source.uri(), 8, "1M")
        let check = try await Command.run(
            "qemu-io", "-r", "-U", "-f", "raw", "-c", "read -P 8 1M 64k", nodes.scratch.file("d/images/disk.raw"))
        #expect(check.status == 0 && !check.output.contains("verification failed"), "\(check)")
        server?.signal(SIGTERM)
    }

    @Test("A server without multi-conn -> one line says what to do")
    func oneConnection() async throws {
        var server: ChildProcess?
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("disk.raw", megabytes: 1)
            let (process, uri) = try await Self.serve(
                scratch, ["--filter=multi-conn"], ["multi-conn-mode=disable"])
            server = process
            return Self.section(uri, "identity = the disk")
        }
        let refused = try await nodes.migrate("disk")
        #expect(refused.status != 0 && refused.errors.contains("multi-conn"), "\(refused)")
        #expect(try await nodes.state(of: "disk") == "serving ")
        server?.signal(SIGTERM)
    }
}
