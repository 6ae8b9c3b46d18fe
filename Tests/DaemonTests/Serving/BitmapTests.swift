import Foundation
import TestSupport
import Testing

/// Block status contexts beyond the standard ones: dirty bitmaps and missing blocks.
@Suite("Bitmaps", .timeLimit(.minutes(10)))
struct BitmapTests {
    private let scratch = Scratch()
    private static let size = 8 << 20

    private func node() async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("node"),
            [try scratch.hole(Self.size + 512, "disk.raw"), "--export", "disk", "--dirty-bitmap", "backup"])
    }

    /// Runs Python with a connected handle `h`.
    private func script(_ node: NodeProcess, _ text: String, contexts: [String] = []) async throws -> Command.Result {
        let chosen = contexts.map { "h.add_meta_context('\($0)');" }.joined()
        return try await Command.run("nbdsh", "-c", "\(chosen)h.connect_uri('\(node.uri())')", "-c", text)
    }

    /// Python that lists the marked runs, with as many block status requests as needed.
    private static let walk = """
        def blocks(h):
            found = []
            def take(context, offset, extents, error):
                assert context == "qemu:dirty-bitmap:backup", context
                for length, state in zip(extents[::2], extents[1::2]):
                    if state: found.append((offset, length))
                    offset += length
                take.end = offset
            take.end = 0
            while take.end < h.get_size(): h.block_status(h.get_size() - take.end, take.end, take)
            return found

        """

    /// Returns the marked blocks, as libnbd sees them.
    private func marked(_ node: NodeProcess) async throws -> String {
        let result = try await script(node, Self.walk + "print(blocks(h))", contexts: ["qemu:dirty-bitmap:backup"])
        try #require(result.status == 0, "\(result)")
        return result.output.trimmingCharacters(in: .newlines)
    }

    @Test("A checkpoint -> shows writes since the last one; a failed one -> shown again")
    func checkpoints() async throws {
        let node = try await node()
        let everything = "[(0, \(Self.size + 512))]"
        #expect(try await marked(node) == everything)
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        #expect(try await marked(node) == everything)
        _ = try await script(node, "h.pwrite(b'x' * 10, 4090); h.zero(4096, 1 << 20); h.trim(100, 2 << 20)")
        #expect(try await marked(node) == everything)
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        let first = "[(0, 8192), (1048576, 4096), (2097152, 4096)]"
        #expect(try await marked(node) == first)
        _ = try await script(node, "h.pwrite(b'y' * 512, \(Self.size))")
        #expect(try await marked(node) == first)
        #expect(try await node.ask(["checkpoint", "disk", "--failed"]).status == 0)
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        #expect(
            try await marked(node) == "[(0, 8192), (1048576, 4096), (2097152, 4096), (\(Self.size), 512)]")
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        #expect(try await marked(node) == "[]")
        #expect(try await node.stop() == 0)
    }

    /// Copies the marked blocks onto the last backup while writes go on, as a backup tool does.
    @Test("Full and incremental backups -> together equal to the disk")
    func backups() async throws {
        let node = try await node()
        let backup = try scratch.hole(Self.size + 512, "backup.raw")
        let copy =
            Self.walk + """
                import random, sys
                def guest(count):
                    for _ in range(count):
                        offset = random.randrange(h.get_size() - 5000)
                        h.pwrite(random.randbytes(random.randrange(1, 5000)), offset)
                def save(limit):
                    reader = nbd.NBD()
                    reader.add_meta_context("qemu:dirty-bitmap:backup")
                    reader.connect_uri(sys.argv[1])
                    with open(sys.argv[2], "r+b") as file:
                        for offset, length in blocks(reader):
                            file.seek(offset)
                            file.write(reader.pread(length, offset))
                            if limit: guest(1)
                    reader.shutdown()
                """
        let file = try scratch.write(Array(copy.utf8), to: "copy.py")
        let run = { (text: String) in
            try await Command.run(
                "bash", "-c",
                "nbdsh -u '\(node.uri())' -c 'import sys; sys.argv = [\"\", \"\(node.uri())\", \"\(backup)\"]' -c \"$(cat \(file))\" -c '\(text)'"
            )
        }
        for round in 0..<4 {
            #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
            let result = try await run(round < 3 ? "save(True); guest(40)" : "save(False)")
            #expect(result.status == 0, "\(result)")
        }
        #expect(try scratch.contents("backup.raw") == scratch.contents("disk.raw"))
        #expect(try await node.stop() == 0)
    }

    @Test("Several contexts -> one reply; QEMU reads the bitmap")
    func together() async throws {
        let node = try await node()
        _ = try await node.ask(["checkpoint", "disk"])
        _ = try await script(node, "h.pwrite(b'x' * 4096, 65536); h.pwrite(b'x' * 4096, 131072)")
        _ = try await node.ask(["checkpoint", "disk"])
        _ = try await script(node, "h.pwrite(b'x' * 4096, 262144)")
        let both = """
            seen = {}
            def take(context, offset, extents, error):
                seen[context] = extents
            h.block_status(1 << 20, 0, take)
            print(sorted(seen.items()))
            one = {}
            def first(context, offset, extents, error):
                one[context] = extents
            h.block_status(1 << 20, 4096, first, nbd.CMD_FLAG_REQ_ONE)
            print(sorted(one.items()))
            """
        let result = try await script(
            node, both, contexts: ["qemu:dirty-bitmap:backup", "base:allocation", "qemu:dirty-bitmap:nothing"])
        let allocation = [65536, 3, 4096, 0, 61440, 3, 4096, 0, 126976, 3, 4096, 0, 782336, 3]
        let dirty = [65536, 0, 4096, 1, 61440, 0, 4096, 1, 913408, 0]
        #expect(
            result.output == """
                [('base:allocation', \(allocation)), ('qemu:dirty-bitmap:backup', \(dirty))]
                [('base:allocation', [61440, 3]), ('qemu:dirty-bitmap:backup', [61440, 0])]

                """, "\(result)")
        let map = try await Command.run(
            "qemu-img", "map", "--output=json", "--image-opts",
            "driver=nbd,server.type=unix,server.path=\(node.folder)/nbd.sock,export=disk,"
                + "x-dirty-bitmap=qemu:dirty-bitmap:backup")
        // QEMU shows dirty blocks as blocks without data.
        let runs = try JSONSerialization.jsonObject(with: Data(map.output.utf8)) as? [[String: Any]]
        let found = (runs ?? []).filter { $0["data"] as? Bool == false }.compactMap { $0["start"] as? Int }
        #expect(found == [65536, 131072], "\(map)")
        #expect(try await node.stop() == 0)
    }

    /// Returns the number of marked bytes.
    private func marked(_ uri: String, _ context: String) async throws -> Int {
        let map = try await Command.run("nbdinfo", "--map=\(context)", "--json", uri)
        let runs = try JSONSerialization.jsonObject(with: Data(map.output.utf8)) as? [[String: Any]] ?? []
        return runs.filter { $0["type"] as? Int == 1 }.compactMap { $0["length"] as? Int }.reduce(0, +)
    }

    @Test("A migration -> the source shows dirty blocks, the destination missing ones")
    func moving() async throws {
        let nodes = try await TwoNodes()
        let dirty = "qemu:dirty-bitmap:migration"
        func contexts(of node: NodeProcess) async throws -> String {
            try await Command.run("nbdinfo", "--json", node.uri()).output
        }
        let start = ["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--detach"]
        // While the disk waits for the switchover, its map empties at once.
        #expect(try await nodes.source.ask(start + ["--switch", "manual"]).status == 0)
        try await waitUntil("it is seen") { try await contexts(of: nodes.source).contains(dirty) }
        try await waitUntil("all is sent") { try await marked(nodes.source.uri(), dirty) == 0 }
        _ = try await nodes.source.ask(["rate", "disk", "8K"])
        let written = try await Command.run("qemu-io", ["-f", "raw", "-c", "write -P 9 1M 1M", nodes.source.uri()])
        #expect(written.status == 0)
        // A client that has chosen the context sees everything as dirty after it was withdrawn.
        let client = try await Command.run(
            "nbdsh", "-c", "h.add_meta_context('\(dirty)'); h.connect_uri('\(nodes.source.uri())')", "-c",
            """
            import subprocess
            answers = []
            def take(context, offset, extents, error): answers.append(extents)
            h.block_status(1 << 20, 0, take)
            subprocess.run(["\(Nearblock.path)", "cancel", "disk", "--control", "\(nodes.source.control)"], check=True)
            import time
            end = time.time() + 30
            while answers[-1] != [1048576, 1] and time.time() < end:
                time.sleep(0.02)
                h.block_status(1 << 20, 0, take)
            print(answers[0][1], answers[-1])
            """)
        #expect(client.output == "0 [1048576, 1]\n", "\(client)")
        #expect(try await !contexts(of: nodes.source).contains(dirty), "cancel returns once all is as before")
        #expect(try await nodes.source.ask(start + ["--switch", "now", "--rate", "1M"]).status == 0)
        let missing = "nearblock:missing"
        try await waitUntil("it is served there") { try await contexts(of: nodes.destination).contains(missing) }
        let some = try await marked(nodes.destination.uri(), missing)
        let whole = try nodes.sourceImage.count
        #expect(some > 0 && some <= whole, "\(some)")
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it is whole") { try await !contexts(of: nodes.destination).contains(missing) }
        #expect(try nodes.destinationImage == nodes.sourceImage)
    }

    @Test("An invalid bitmap name -> one line says why")
    func refusals() async throws {
        let image = try scratch.hole(1 << 20, "plain.raw")
        for name in ["", "a b", "migration"] {
            let refused = try await Nearblock.run(["serve", image, "--dirty-bitmap", name])
            #expect(refused.status == 2 && refused.errors.split(separator: "\n").count == 1, "\(refused)")
        }
        let node = try await NodeProcess(scratch.file("plain"), [image])
        let none = try await node.ask(["checkpoint", "plain.raw"])
        #expect(none.status == 1 && none.errors.contains("--dirty-bitmap"), "\(none)")
        #expect(try await node.stop() == 0)
    }
}
