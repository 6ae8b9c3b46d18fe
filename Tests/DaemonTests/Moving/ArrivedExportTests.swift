import Foundation
import TestSupport
import Testing

/// The life of a disk that came by migration: `nearblock export`.
@Suite("Disks that came by migration", .timeLimit(.minutes(10)))
struct ArrivedExportTests {
    private let scratch = Scratch()
    private let port: UInt16

    init() throws {
        port = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: 2)
        _ = try scratch.write(Array("# The operator's.\n[node]\nimages = \(scratch.file("images"))".utf8), to: "d.conf")
    }

    /// The path of a file, as a node names it: without empty parts.
    private func path(_ name: String) -> String { scratch.file(name).replacingOccurrences(of: "//", with: "/") }

    private func source() async throws -> NodeProcess {
        try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"])
    }

    private func destination() async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"), ["--config", scratch.file("d.conf"), "--peer-listen", "127.0.0.1:\(port)"])
    }

    private func listed(_ node: NodeProcess) async throws -> (exports: [[String: Any]], leftovers: [[String: Any]]) {
        let result = try await node.ask(["export", "list", "--json"])
        let answer = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        return (
            try #require(answer?["exports"] as? [[String: Any]]), try #require(answer?["leftovers"] as? [[String: Any]])
        )
    }

    private func origin(_ node: NodeProcess) async throws -> String? {
        try await listed(node).exports.first { $0["export"] as? String == "disk" }?["origin"] as? String
    }

    private func migrate(from source: NodeProcess) async throws {
        let moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
        #expect(moved.status == 0, "\(moved.errors)")
    }

    private func reload(_ node: NodeProcess, until words: String) async throws {
        node.signal(SIGHUP)
        try await node.wait(for: words)
    }

    private func reads(_ node: NodeProcess) async throws -> Bool {
        try await Command.run("nbdcopy", node.uri(), scratch.file("copy")).status == 0
            && scratch.data("copy") == scratch.data("images/disk.raw")
    }

    @Test("adopt, SIGHUP, restart -> served as the configuration says, with its clients and those of the source")
    func adopted() async throws {
        let (source, first) = (try await source(), try await destination())
        try await migrate(from: source)
        #expect(try await origin(first) == "arrived")
        let printed = try await first.ask(["export", "adopt", "disk"])
        #expect(printed.output == "[export disk]\nimage=\(path("images/disk.raw"))\n", "\(printed)")
        let written = try await first.ask(["export", "adopt", "disk", "--write", scratch.file("d.conf")])
        #expect(written.status == 0, "\(written)")
        let text = String(decoding: try scratch.data("d.conf"), as: UTF8.self)
        #expect(text.hasPrefix("# The operator's.\n[node]\n") && text.hasSuffix("\n\n" + printed.output), "\(text)")
        let twice = try await first.ask(["export", "adopt", "disk", "--write", scratch.file("d.conf")])
        #expect(twice.status == 1 && twice.errors.contains("[export disk] is there already"), "\(twice)")

        // A client that stays connected reads before and after.
        let script = """
            import sys
            print(h.pread(1, 0)[0] >= 0, flush=True)
            while not __import__('os').path.exists('\(scratch.file("go"))'): __import__('time').sleep(0.05)
            print(len(h.pread(4096, 4096)), flush=True)
            """
        let client = Task { try await Command.run("nbdsh", "-u", first.uri(), "-c", script) }
        try await waitUntil("it is connected") { try await first.exports()[0]["clients"] as? Int == 1 }
        _ = try scratch.write(Array((text + "description = adopted\n").utf8), to: "d.conf")
        try await reload(first, until: "the configuration was reloaded")
        #expect(try await origin(first) == "configuration")
        _ = try scratch.write([], to: "go")
        #expect(try await client.value.output == "True\n4096\n")
        #expect(try await Command.run("nbdinfo", first.uri()).output.contains("adopted"))

        try await first.kill()
        let second = try await destination()
        #expect(try await origin(second) == "configuration")
        #expect(!second.messages.contains("can't be served"), "\(second.messages)")
        #expect(try await second.exports().allSatisfy { $0["problem"] == nil })
        #expect(try await reads(second))
        let write = try await Command.run("qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", "-c", "flush", source.uri())
        #expect(write.status == 0, "the source forwards: \(write)")
        #expect(try scratch.data("images/disk.raw").prefix(65536).allSatisfy { $0 == 7 })

        // Taken out again, it is served as it came.
        _ = try scratch.write(Array("[node]\nimages = \(scratch.file("images"))\n".utf8), to: "d.conf")
        try await reload(second, until: "disk is served as it came by migration")
        #expect(try await origin(second) == "arrived")
        #expect(try await reads(second))
        #expect(try await second.stop() == 0)
    }

    @Test("Its image is away while the node starts -> the other disks are served, and it too once the image is back")
    func away() async throws {
        let (gone, first) = (try await source(), try await destination())
        try await migrate(from: gone)
        // It would have the disk served, too.
        #expect(try await gone.stop() == 0)
        try await first.kill()
        #expect(rename(path("images/disk.raw"), path("away.raw")) == 0)
        let second = try await destination()
        try await second.wait(for: "disk moved to this node but can't be served")
        #expect(try await second.exports()[0]["problem"] is String)
        #expect(rename(path("away.raw"), path("images/disk.raw")) == 0)
        try await second.wait(for: "disk is served: its image can be opened now")
        #expect(try await second.exports()[0]["problem"] == nil)
        #expect(try await reads(second))
        let source = try await source()
        let write = try await Command.run("qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", "-c", "flush", source.uri())
        #expect(write.status == 0, "the source forwards: \(write)")
        #expect(try scratch.data("images/disk.raw").prefix(65536).allSatisfy { $0 == 7 })
        #expect(try await second.stop() == 0)
    }

    @Test("Made larger -> still a disk that came, which can be forgotten")
    func resized() async throws {
        let (source, node) = (try await source(), try await destination())
        try await migrate(from: source)
        #expect(try await source.stop() == 0)
        let resized = try await node.ask(["resize", "disk", "4M"])
        #expect(resized.status == 0, "\(resized)")
        #expect(try await origin(node) == "arrived")
        try await waitUntil("it is forgotten") { try await node.ask(["export", "forget", "disk"]).status == 0 }
        #expect(try await node.stop() == 0)
    }

    @Test("In the configuration with another image -> it stays as it came, and the log says why")
    func otherImage() async throws {
        let (source, node) = (try await source(), try await destination())
        try await migrate(from: source)
        _ = try scratch.hole(1 << 20, "other.raw")
        let text = "[node]\nimages = \(scratch.file("images"))\n[export disk]\nimage = \(scratch.file("other.raw"))\n"
        _ = try scratch.write(Array(text.utf8), to: "d.conf")
        let reloaded = try await node.ask(["reload"])
        let reason = "disk stays as it came: the configuration has another image"
        #expect(reloaded.status == 1 && (reloaded.output + reloaded.errors).contains(reason), "\(reloaded)")
        try await node.wait(for: reason)
        #expect(try await reads(node))
    }

    @Test("forget -> refused with clients and while a source forwards; then gone, over a restart, and its image stays")
    func forgotten() async throws {
        let (source, first) = (try await source(), try await destination())
        try await migrate(from: source)
        let forwarding = try await first.ask(["export", "forget", "disk"])
        #expect(forwarding.status == 1 && forwarding.errors.contains("another node forwards"), "\(forwarding)")
        #expect(try await source.stop() == 0)
        let client = try ChildProcess(
            "/usr/bin/python3",
            ["-c", "import nbd, time; h = nbd.NBD(); h.connect_uri('\(first.uri())'); time.sleep(600)"])
        try await waitUntil("it is connected") { try await first.exports()[0]["clients"] as? Int == 1 }
        let used = try await first.ask(["export", "forget", "disk"])
        #expect(used.status == 1 && used.errors.contains("a client;"), "\(used)")
        #expect(try await reads(first), "it is served as before")
        client.signal(SIGKILL)
        try await waitUntil("it is forgotten") { try await first.ask(["export", "forget", "disk"]).status == 0 }
        #expect(try await first.exports().isEmpty)
        #expect(try await Command.run("nbdinfo", first.uri()).status != 0)
        // Another program may write to it now.
        let image = scratch.file("images/disk.raw")
        let write = try await Command.run("qemu-io", "-f", "raw", "-c", "write -P 9 0 4k", image)
        #expect(write.status == 0, "\(write)")
        try await first.kill()
        let second = try await destination()
        #expect(try await second.exports().isEmpty)
        #expect(FileManager.default.fileExists(atPath: image))
        #expect(try await listed(second).leftovers.isEmpty)
        unlink(image)
        #expect(try await listed(second).leftovers.isEmpty)
        let records = try await Nearblock.run(["record", "list", "--state", "\(second.folder)/state"])
        #expect(records.status == 0 && records.output.hasPrefix("no records of disks"), "\(records)")
    }

    @Test("forget of a disk that moved on -> the record that stays is named, and goes once the image has gone")
    func movedOn() async throws {
        let nodes = try await ChainOfNodes(megabytes: 2)
        try await nodes.migrate("a", "b")
        try await nodes.migrate("b", "c")
        try await nodes.wait(for: "a", toForwardTo: "c")
        let middle = nodes["b"]
        var said = try await middle.ask(["export", "forget", "disk"])
        try await waitUntil("the nodes agree that it may be forgotten") {
            if said.status != 0 { said = try await middle.ask(["export", "forget", "disk"]) }
            return said.status == 0
        }
        #expect(said.output.contains("moved-") && said.output.contains("nearblock export forget disk"), "\(said)")
        #expect(try await listed(middle).leftovers.isEmpty, "the image is there")
        let again = try await middle.ask(["export", "forget", "disk"])
        #expect(again.status == 1 && again.errors.contains("'disk'"), "the record is needed: \(again)")
        unlink(nodes.scratch.file("b/images/disk.raw"))
        let left = try #require(try await listed(middle).leftovers.first)
        #expect((left["advice"] as? String)?.hasSuffix("nearblock export forget disk") == true, "\(left)")
        let gone = try await middle.ask(["export", "forget", "disk"])
        #expect(gone.status == 0 && gone.output.contains("is gone, and so are its records now"), "\(gone)")
        #expect(try await listed(middle).leftovers.isEmpty)
        try await nodes.restart("b")
        #expect(try await listed(nodes["b"]).leftovers.isEmpty)
        #expect(try await nodes["b"].exports().isEmpty)
        #expect(try await nodes["c"].exports().count == 1)
    }

    @Test("An export of the configuration, an arriving one and none -> not forgotten, not adopted")
    func refused() async throws {
        let (source, node) = (try await source(), try await destination())
        for command in ["forget", "adopt"] {
            let configured = try await source.ask(["export", command, "disk"])
            #expect(configured.status == 1 && configured.errors.contains("configuration"), "\(configured)")
            #expect(try await source.ask(["export", command, "none"]).status == 1)
        }
        let begun = try await source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(port)", "--switch", "manual", "--detach",
        ])
        #expect(begun.status == 0)
        try await waitUntil("it waits") { try await source.ask(["status"]).output.contains("waiting") }
        #expect(try await origin(node) == "arriving")
        for command in ["forget", "adopt"] {
            let arriving = try await node.ask(["export", command, "disk"])
            #expect(arriving.status == 1 && arriving.errors.contains("arriving"), "\(arriving)")
        }
    }

    @Test("A killed source, a record without its image -> listed with what to do")
    func leftovers() async throws {
        let (source, first) = (try await source(), try await destination())
        let begun = try await source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(port)", "--rate", "2M", "--detach",
        ])
        #expect(begun.status == 0)
        try await waitUntil("some has come") {
            let arrival = try await first.arriving().first?["arrival"] as? [String: Any]
            return arrival?["done"] as? UInt64 ?? 0 > 1 << 20
        }
        try await source.kill()
        let file = path("images/disk.raw.incoming")
        try await waitUntil("it is left") { try await listed(first).leftovers.first?["file"] as? String == file }
        let text = try await first.ask(["export", "list"]).output
        #expect(text.contains(file) && text.contains("remove it"), "\(text)")

        // The killed source goes on.
        let again = try await self.source()
        let waited = try await again.ask(["wait", "disk"])
        #expect(waited.status == 0, "\(waited)")
        #expect(try await listed(first).leftovers.isEmpty)
        try await first.kill()
        unlink(scratch.file("images/disk.raw"))
        let second = try await destination()
        let record = try #require(try await listed(second).leftovers.first)
        #expect(record["kind"] as? String == "record" && record["export"] as? String == "disk", "\(record)")
    }
}
