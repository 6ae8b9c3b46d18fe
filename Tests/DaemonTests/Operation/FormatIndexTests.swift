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
}
