import Foundation
import TestSupport
import Testing

/// Dirty bitmaps over restarts of the node.
@Suite("Bitmaps that are kept", .timeLimit(.minutes(10)))
struct KeptBitmapTests {
    private let scratch = Scratch()
    private static let size = 4 << 20

    private func node(_ bitmap: String = "backup", format: String = "raw") async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("node"),
            [scratch.file("disk.\(format)"), "--format", format, "--export", "disk", "--dirty-bitmap", bitmap])
    }

    /// Puts a qcow2 file over `disk.raw`, over another one.
    private func makeOverlays() async throws {
        try scratch.makeImage("disk.raw", megabytes: 4)
        for (base, format, name) in [("disk.raw", "raw", "middle"), ("middle", "qcow2", "disk.qcow2")] {
            let made = try await Command.run(
                "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, scratch.file(name))
            #expect(made.status == 0, "\(made)")
        }
    }

    /// The bytes of the disk, as the node serves them.
    private func contents(_ node: NodeProcess) async throws -> [UInt8] {
        let copy = scratch.file("copy.raw")
        let copied = try await Command.run("nbdcopy", node.uri(), copy)
        #expect(copied.status == 0, "\(copied)")
        return try scratch.contents("copy.raw")
    }

    private func write(_ node: NodeProcess, at offset: String) async throws {
        let result = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -P 7 \(offset) 4k", "-c", "flush", node.uri()])
        #expect(result.status == 0, "\(result.output)")
    }

    private func checkpoint(_ node: NodeProcess) async throws {
        let result = try await node.ask(["checkpoint", "disk"])
        #expect(result.status == 0, "\(result.errors)")
    }

    /// The offsets of the marked runs, as nbdinfo shows them.
    private func marked(_ node: NodeProcess, _ bitmap: String = "backup") async throws -> [Int] {
        let map = try await Command.run("nbdinfo", "--map=qemu:dirty-bitmap:\(bitmap)", "--json", node.uri())
        let runs = try JSONSerialization.jsonObject(with: Data(map.output.utf8)) as? [[String: Any]] ?? []
        return runs.filter { $0["type"] as? Int == 1 }.compactMap { $0["offset"] as? Int }
    }

    /// Copies what the last checkpoint shows onto a backup.
    private func backUp(_ node: NodeProcess) async throws {
        let script = """
            found = []
            def take(context, offset, extents, error):
                for length, state in zip(extents[::2], extents[1::2]):
                    if state: found.append((offset, length))
                    offset += length
                take.end = offset
            take.end = 0
            while take.end < h.get_size(): h.block_status(h.get_size() - take.end, take.end, take)
            with open('\(scratch.file("backup.raw"))', 'r+b') as file:
                for offset, length in found:
                    file.seek(offset)
                    file.write(h.pread(length, offset))
            """
        let result = try await Command.run(
            "nbdsh", "-c", "h.add_meta_context('qemu:dirty-bitmap:backup'); h.connect_uri('\(node.uri())')", "-c",
            script)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test(
        "A full backup and two incrementals, the node restarted between and within them -> equal to the disk",
        arguments: ["raw", "qcow2"])
    func backups(format: String) async throws {
        try await makeOverlays()
        _ = try scratch.hole(Self.size, "backup.raw")
        var node = try await node(format: format)
        func restart() async throws {
            #expect(try await node.stop() == 0)
            node = try await self.node(format: format)
        }
        try await checkpoint(node)
        try await backUp(node)
        #expect(try await scratch.contents("backup.raw") == contents(node))
        for round in 1...2 {
            try await write(node, at: "\(round)M")
            try await restart()
            try await write(node, at: "\(round * 4096)")
            try await checkpoint(node)
            // The checkpoint is kept, too.
            try await restart()
            #expect(try await marked(node) == [round * 4096, round << 20])
            try await backUp(node)
            #expect(try await scratch.contents("backup.raw") == contents(node))
        }
        try await checkpoint(node)
        #expect(try await marked(node).isEmpty)
    }

    @Test("The node was killed -> the bitmap shows everything, and the log says so, until the next clean end")
    func killed() async throws {
        _ = try scratch.hole(Self.size, "disk.raw")
        var node = try await node()
        for _ in 0..<2 { try await checkpoint(node) }
        #expect(try await node.stop() == 0)
        node = try await self.node()
        #expect(try await marked(node).isEmpty)
        #expect(!node.messages.contains("invalid"))
        try await node.kill()
        for _ in 0..<2 {
            node = try await self.node()
            #expect(
                node.messages.contains("its dirty bitmap is invalid and shows all blocks: the node did not end cleanly")
            )
            try await checkpoint(node)
            #expect(try await marked(node) == [0])
            try await node.kill()
        }
        node = try await self.node()
        for _ in 0..<2 { try await checkpoint(node) }
        #expect(try await node.stop() == 0)
        node = try await self.node()
        #expect(!node.messages.contains("invalid"))
        #expect(try await marked(node).isEmpty)
    }

    @Test(
        "The image was written, replaced or made longer meanwhile, or the saved bits are damaged -> invalid, with the reason",
        arguments: [
            ("write", "has been changed"), ("replace", "has been changed"), ("grow", "bytes then"),
            ("damage", "is damaged"), ("remove", "is damaged or missing"),
        ])
    func changed(kind: String, reason: String) async throws {
        let image = try scratch.hole(Self.size, "disk.raw")
        var node = try await node()
        for _ in 0..<2 { try await checkpoint(node) }
        #expect(try await node.stop() == 0)
        let state = scratch.file("node/state")
        let names = try FileManager.default.contentsOfDirectory(atPath: state)
        let bits = try #require(names.first { $0.hasSuffix(".bits") })
        let file = URL(fileURLWithPath: "\(state)/\(bits)")
        switch kind {
        case "write": _ = try await Command.run("qemu-io", ["-f", "raw", "-c", "write 1M 4k", image])
        case "replace": _ = try await Command.run("cp", [image, image + ".new"])
        case "grow": truncate(image, off_t(2 * Self.size))
        case "damage":
            var data = try Data(contentsOf: file)
            data[3] ^= 1
            try data.write(to: file)
        default: try FileManager.default.removeItem(at: file)
        }
        // Another file at the path has no bitmap: nobody knows anything of it.
        if kind == "replace" { rename(image + ".new", image) }
        node = try await self.node()
        if kind != "replace" { #expect(node.messages.contains(reason), "\(node.messages)") }
        try await checkpoint(node)
        #expect(try await marked(node) == [0])
    }

    @Test(
        "A helper holds the disk, and one of its files was written meanwhile -> invalid, with the reason",
        arguments: ["disk.qcow2", "middle", "disk.raw"])
    func changedChain(file: String) async throws {
        try await makeOverlays()
        var node = try await node(format: "qcow2")
        for _ in 0..<2 { try await checkpoint(node) }
        #expect(try await node.stop() == 0)
        let format = file == "disk.raw" ? "raw" : "qcow2"
        let written = try await Command.run("qemu-io", ["-f", format, "-c", "write 1M 4k", scratch.file(file)])
        #expect(written.status == 0, "\(written)")
        node = try await self.node(format: "qcow2")
        #expect(node.messages.contains("one of its backing files has been changed"), "\(node.messages)")
        try await checkpoint(node)
        #expect(try await marked(node) == [0])
    }

    @Test("The helper is killed before a flush -> the next checkpoint shows everything, and the one after only writes")
    func lostWrites() async throws {
        try await makeOverlays()
        let node = try await node(format: "qcow2")
        for _ in 0..<2 { try await checkpoint(node) }
        let helper = try #require(Processes.with(argument: "\(node.folder)/state/storage-").first)
        let script = """
            import os, signal
            h.pwrite(b'x' * 4096, 1 << 20)
            os.kill(\(helper), signal.SIGKILL)
            h.pread(4096, 0)
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.status == 0, "\(result.errors)")
        for expected in [[0], []] {
            try await checkpoint(node)
            #expect(try await marked(node) == expected)
        }
    }

    @Test("A VMDK, which can have files that nobody knows -> a line at the start says that nothing is kept")
    func unknownFiles() async throws {
        let made = try await Command.run("qemu-img", "create", "-f", "vmdk", scratch.file("disk.vmdk"), "4M")
        #expect(made.status == 0, "\(made)")
        let node = try await node(format: "vmdk")
        #expect(node.messages.contains("its dirty bitmap shows all blocks after each start"), "\(node.messages)")
    }

    @Test("A bitmap of another name -> shows everything")
    func renamed() async throws {
        _ = try scratch.hole(Self.size, "disk.raw")
        var node = try await node()
        for _ in 0..<2 { try await checkpoint(node) }
        #expect(try await node.stop() == 0)
        node = try await self.node("other")
        try await checkpoint(node)
        #expect(try await marked(node, "other") == [0])
    }
}
