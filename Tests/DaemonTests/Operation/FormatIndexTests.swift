import Foundation
import TestSupport
import Testing

/// Images in other formats than raw as neighbours.
@Suite("Indexing images that are not raw", .timeLimit(.minutes(10)))
struct FormatIndexTests {
    private let scratch = Scratch()

    private func expectSuccess(_ result: Command.Result) { #expect(result.status == 0, "\(result)") }

    @Test("A qcow2 image as neighbour -> indexed like the raw one, and its blocks do not cross the link")
    func neighbour() async throws {
        try scratch.makeImage("disk.raw", megabytes: 4)
        let (raw, image, index) = (scratch.file("disk.raw"), scratch.file("twin.qcow2"), scratch.file("index"))
        expectSuccess(try await Command.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image))
        let added = try await Nearblock.run(["index", "add", "--index", index, "--format", "qcow2", image])
        expectSuccess(added)
        #expect(added.output.contains("1024 blocks"), "\(added)")
        let name = "qcow2:\(URL(fileURLWithPath: image).resolvingSymlinksInPath().path)"
        #expect(try await Nearblock.run(["index", "list", "--index", index]).output.contains(name))
        expectSuccess(try await Nearblock.run(["index", "refresh", "--index", index, "qcow2:\(image)"]))
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"),
            ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images"), "--index", index])
        let source = try await NodeProcess(scratch.file("s"), [raw, "--export", "disk"])
        let moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)", "--json"])
        expectSuccess(moved)
        let report = try JSONSerialization.jsonObject(with: Data(moved.output.utf8)) as? [String: Any]
        let ledger = report?["ledger"] as? [String: Any]
        #expect((ledger?["link"] as? Int ?? .max) < 65536, "\(moved)")
        #expect(try scratch.data("images/disk.raw") == scratch.data("disk.raw"))
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
        expectSuccess(try await Nearblock.run(["index", "remove", "--index", index, "qcow2:\(image)"]))
    }

    /// Serves an internal snapshot of an image that may be in use, as docs/manual.md says.
    private func serve(_ snapshot: String, of image: String) async throws -> (ChildProcess, String) {
        let socket = scratch.file("snapshot.sock")
        let server = try ChildProcess(
            "/usr/bin/qemu-nbd",
            [
                "--read-only", "--persistent", "--shared=0", "--socket=\(socket)", "--load-snapshot=\(snapshot)",
                "--image-opts", "driver=qcow2,force-share=on,file.driver=file,file.filename=\(image)",
            ])
        let uri = "nbd+unix:///?socket=\(socket)"
        try await waitUntil("qemu-nbd answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        return (server, uri)
    }

    @Test("The backing file and an internal snapshot of a served image as neighbours -> their blocks do not cross")
    func snapshotAndBackingFile() async throws {
        try scratch.makeImage("base.raw", megabytes: 4)
        var random = Seeded(.random(in: 0 ... .max))
        let (base, top, index) = (scratch.file("base.raw"), scratch.file("top.qcow2"), scratch.file("index"))
        let pattern = try scratch.write(random.bytes(1 << 20), to: "pattern")
        for (program, arguments) in [
            ("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top]),
            ("qemu-io", ["-f", "qcow2", "-c", "write -s \(pattern) 1M 1M", top]),
            ("qemu-img", ["snapshot", "-c", "before", top]),
            ("qemu-img", ["convert", "-l", "before", "-O", "raw", top, scratch.file("disk.raw")]),
            // These bytes are only in the snapshot from now on.
            ("qemu-io", ["-f", "qcow2", "-c", "write -P 3 1M 1M", top]),
        ] {
            expectSuccess(try await Command.run(program, arguments))
        }
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"),
            [
                top, "--export", "top", "--format", "qcow2", "--peer-listen", "127.0.0.1:\(port)", "--images",
                scratch.file("images"), "--index", index,
            ])
        let (server, snapshot) = try await serve("before", of: top)
        expectSuccess(try await Nearblock.run(["index", "add", "--index", index, base]))
        func estimate(_ source: NodeProcess) async throws -> [String: Any] {
            let result = try await source.ask([
                "migrate", "disk", "--to", "127.0.0.1:\(port)", "--dry-run", "--json",
            ])
            expectSuccess(result)
            let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            return report?["ledger"] as? [String: Any] ?? [:]
        }
        let source = try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"])
        // With the backing file alone, only what was written over it crosses.
        #expect(try await estimate(source)["link"] as? Int == 1 << 20)
        expectSuccess(try await Nearblock.run(["index", "add", "--index", index, snapshot]))
        #expect(try await estimate(source)["link"] as? Int == 0)
        expectSuccess(try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"]))
        #expect(try scratch.data("images/disk.raw") == scratch.data("disk.raw"))
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
        server.signal(SIGTERM)
    }
}
