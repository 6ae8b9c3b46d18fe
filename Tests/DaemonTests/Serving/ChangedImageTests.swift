import Foundation
import TestSupport
import Testing

/// Images that are replaced, grow or are cut short while a node serves them.
@Suite("Images that change while served", .timeLimit(.minutes(10)))
struct ChangedImageTests {
    private let scratch = Scratch()
    private static let size = 4 << 20

    /// Writes a disk filled with the letter A.
    private func makeDisk(_ name: String = "disk.raw") throws -> String {
        try scratch.write([UInt8](repeating: UInt8(ascii: "A"), count: Self.size), to: name)
    }

    private func node(_ image: String, _ options: [String] = []) async throws -> NodeProcess {
        try await NodeProcess(scratch.file("node"), [image, "--export", "disk"] + options)
    }

    private func size(_ node: NodeProcess) async throws -> String {
        let result = try await Command.run("nbdinfo", "--size", node.uri())
        return result.status == 0 ? result.output.trimmingCharacters(in: .newlines) : "refused"
    }

    private func count(_ words: String, in node: NodeProcess) -> Int {
        node.messages.components(separatedBy: words).count - 1
    }

    /// Python that the tests share: `old` maps each server to a client that was connected from the start.
    private static let clients = """
        import json, nbd, os, subprocess, sys
        image, uris = sys.argv[1], sys.argv[2:]
        MB = 1 << 20
        def connect(uri, context=None):
            h = nbd.NBD()
            h.set_strict_mode(0)
            if context: h.add_meta_context(context)
            h.connect_uri(uri)
            return h
        def attempt(action):
            try: return action()
            except nbd.Error as error: return "error"
        def letters(h, *offsets):
            return [attempt(lambda: h.pread(1, at).decode("latin1")) for at in offsets]
        def fresh(uri, *offsets):
            def look():
                h = connect(uri)
                answer = [h.get_size() // MB, *letters(h, *offsets)]
                h.shutdown()
                return answer
            return attempt(look)
        def make(path, letter, size):
            with open(path, "w") as file: file.write(letter * size)
        old = [connect(uri) for uri in uris]

        """

    private func run(_ script: String, _ arguments: [String]) async throws -> String {
        let file = try scratch.write(Array((Self.clients + script).utf8), to: "clients-\(UUID()).py")
        let result = try await Command.run("python3", [file] + arguments)
        try #require(result.status == 0, "\(result)")
        return result.output.trimmingCharacters(in: .newlines)
    }

    // MARK: Compared with other servers

    /// Returns what new and old clients see, one line each for nearblock, nbd-server and nbdkit.
    private func compare(_ change: String, with image: String? = nil) async throws -> [String] {
        let image = try image ?? makeDisk()
        let node = try await node(image)
        let references = try await ReferenceServers(image, in: scratch.path)
        let output = try await run(
            "\(change)\nfor h, uri in zip(old, uris): print([h.get_size() // MB, *letters(h, 0)], fresh(uri, 0))",
            [image, node.uri()] + references.uris)
        #expect(try await node.stop() == 0)
        return output.components(separatedBy: "\n")
    }

    @Test(
        "A changed image -> new clients see the same as with nbd-server and nbdkit",
        arguments: [
            ("make(image + '.new', 'B', 8 * MB); os.rename(image + '.new', image)", "[4, 'A'] [8, 'B']"),
            ("os.unlink(image)", "[4, 'A'] error"),
            ("os.truncate(image, 6 * MB)", "[4, 'A'] [6, 'A']"),
            ("os.truncate(image, 3 * MB)", "[4, 'A'] [3, 'A']"),
        ])
    func references(change: String, expected: String) async throws {
        #expect(try await compare(change) == [expected, expected, expected])
    }

    @Test("A symbolic link is switched -> new clients get the other file, as with nbd-server")
    func link() async throws {
        let link = scratch.file("link.raw")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: try makeDisk())
        let change =
            "make(image + '.b', 'B', 2 * MB); os.symlink(image + '.b', image + '.l'); os.rename(image + '.l', image)"
        // nbdkit follows links only when it starts.
        let (switched, kept) = ("[4, 'A'] [2, 'B']", "[4, 'A'] [4, 'A']")
        #expect(try await compare(change, with: link) == [switched, switched, kept])
    }

    // MARK: Replaced

    @Test("A replaced image -> each client keeps its file, and one line says so")
    func replaced() async throws {
        let image = try makeDisk()
        let node = try await node(image, ["--dirty-bitmap", "backup"])
        let output = try await run(
            """
            os.link(image, image + ".old")
            make(image + ".new", "B", MB)
            os.rename(image + ".new", image)
            new = connect(uris[0])
            old[0].pwrite(b"o" * 4096, 0, nbd.CMD_FLAG_FUA)
            new.pwrite(b"n" * 4096, 0, nbd.CMD_FLAG_FUA)
            print(letters(old[0], 0, 4096), letters(new, 0, 4096), fresh(uris[0], 0), fresh(uris[0], 0))
            print(open(image + ".old").read(1), open(image).read(1))
            """, [image, node.uri()])
        #expect(output == "['o', 'A'] ['n', 'B'] [1, 'n'] [1, 'n']\no n")
        #expect(count("is another file now", in: node) == 1, "\(node.messages)")
        // After its clients have disconnected, the old file is closed and unlocked.
        try await waitUntil("the old file is closed") {
            let files = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(node.processIdentifier)/fd")
            return !files.contains {
                let target = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/\(node.processIdentifier)/fd/\($0)")
                return target?.hasSuffix(".old") == true || target?.hasSuffix("(deleted)") == true
            }
        }
        let marked = try await Command.run("nbdinfo", "--map=qemu:dirty-bitmap:backup", "--json", node.uri())
        #expect(marked.output.contains("1048576") && marked.output.contains("\"type\": 1"), "\(marked)")
        #expect(try await node.stop() == 0)
    }

    @Test("An image that can't be opened -> new clients refused until it can")
    func unusable() async throws {
        let image = try makeDisk()
        let node = try await node(image)
        let output = try await run(
            """
            os.rename(image, image + ".away")
            print(fresh(uris[0], 0), fresh(uris[0], 0))
            os.mkdir(image)
            print(fresh(uris[0], 0))
            os.rmdir(image)
            open(image, "w").close()
            print(fresh(uris[0], 0))
            os.rename(image + ".away", image)
            print(fresh(uris[0], 0), letters(old[0], 0))
            """, [image, node.uri()])
        #expect(output == "error error\nerror\nerror\n[4, 'A'] ['A']")
        #expect(count("No such file", in: node) == 1, "\(node.messages)")
        #expect(try await node.exports().first?["problem"] == nil)
        #expect(try await node.stop() == 0)
    }

    @Test("A missing image -> shown in the status; SIGHUP looks again without a client")
    func hangup() async throws {
        let image = try makeDisk()
        let node = try await node(image)
        #expect(truncate(image, off_t(Self.size * 2)) == 0)
        node.signal(SIGHUP)
        try await node.wait(for: "has \(Self.size * 2) bytes now and had \(Self.size)")
        #expect(try await node.exports().first?["size"] as? Int == Self.size * 2)
        try FileManager.default.removeItem(atPath: image)
        node.signal(SIGHUP)
        try await node.wait(for: "new clients are refused")
        #expect((try await node.exports().first?["problem"] as? String)?.contains("No such file") == true)
        let moved = try await node.ask(["migrate", "disk", "--to", "127.0.0.1:9"])
        #expect(moved.status == 1 && moved.errors.contains("No such file"), "\(moved)")
        #expect(try await node.stop() == 0)
    }

    // MARK: Grown

    @Test("A grown image -> new blocks are in the bitmap, and clients of both sizes share one disk")
    func grown() async throws {
        let image = try makeDisk()
        // The last block is half a block, and grows too.
        #expect(truncate(image, off_t(Self.size - 2048)) == 0)
        let node = try await node(image, ["--dirty-bitmap", "backup"])
        for _ in 0..<2 { #expect(try await node.ask(["checkpoint", "disk"]).status == 0) }
        let output = try await run(
            """
            context = "qemu:dirty-bitmap:backup"
            def marked(h):
                runs = []
                def take(name, offset, extents, error):
                    for length, state in zip(extents[::2], extents[1::2]):
                        if state: runs.append((offset, length))
                        offset += length
                h.block_status(h.get_size(), 0, take)
                return runs
            first = connect(uris[0], context)
            print(first.get_size(), marked(first))
            old[0].pwrite(b"x", 8192)
            os.truncate(image, 4 * MB + 8192)
            second = connect(uris[0], context)
            print(second.get_size(), marked(second), marked(first))
            second.pwrite(b"new", 4 * MB + 8189, nbd.CMD_FLAG_FUA)
            print(second.pread(3, 4 * MB + 8189), attempt(lambda: old[0].pwrite(b"new", 4 * MB + 8189)))
            old[0].pwrite(b"y", 65536)
            print(second.pread(1, 65536))
            """, [image, node.uri()])
        let size = Self.size
        let new = "(\(size - 4096), \(4096 + 8192))"
        #expect(
            output == """
                \(size - 2048) []
                \(size + 8192) [\(new)] []
                bytearray(b'new') error
                bytearray(b'y')
                """)
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        let after = try await run(
            """
            h = connect(uris[0], "qemu:dirty-bitmap:backup")
            runs = []
            def take(name, offset, extents, error):
                for length, state in zip(extents[::2], extents[1::2]):
                    if state: runs.append((offset, length))
                    offset += length
            h.block_status(h.get_size(), 0, take)
            print(runs)
            """, [image, node.uri()])
        #expect(after == "[(8192, 4096), (65536, 4096), \(new)]")
        #expect(count("bytes now and had", in: node) == 1, "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    @Test("An image grows during its migration -> it moves with the offered size, and one line says so")
    func grownWhileMigrating() async throws {
        let nodes = try await TwoNodes(megabytes: 4)
        let image = nodes.scratch.file("disk.raw")
        try await nodes.beginSlowMigration()
        #expect(truncate(image, off_t(Self.size + 8192)) == 0)
        #expect(try await size(nodes.source) == "\(Self.size)")
        #expect(try await size(nodes.source) == "\(Self.size)")
        #expect(count("has grown from \(Self.size) to \(Self.size + 8192)", in: nodes.source) == 1)
        let problem = try await nodes.source.exports().first?["problem"] as? String
        #expect(problem?.contains("moves the \(Self.size) bytes") == true, "\(problem ?? "none")")
        // If the migration is cancelled, clients see the new size without SIGHUP.
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        try await waitUntil("the new size is told") {
            try await nodes.source.exports().first?["size"] as? Int == Self.size + 8192
        }
        #expect(try await nodes.source.exports().first?["problem"] == nil)
        // A write beyond the old size, by a guest that knows the new one, must arrive.
        let written = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -P 9 \(Self.size) 8192", nodes.source.uri()])
        #expect(written.status == 0, "\(written)")
        #expect(try await nodes.migrate().status == 0)
        #expect(try nodes.destinationImage == nodes.sourceImage)
        #expect(try nodes.destinationImage.count == Self.size + 8192)
        // The arrived disk keeps its size.
        #expect(truncate("\(nodes.images)/disk.raw", off_t(Self.size * 2)) == 0)
        #expect(try await size(nodes.destination) == "\(Self.size + 8192)")
        #expect(count("has come by a migration", in: nodes.destination) == 1, "\(nodes.destination.messages)")
    }

    @Test("Image grown or replaced before the switchover -> the offered disk moves")
    func handedOverAfterGrowth() async throws {
        let nodes = try await TwoNodes(megabytes: 4)
        let image = nodes.scratch.file("disk.raw")
        let before = try nodes.sourceImage
        try await nodes.beginSlowMigration()
        #expect(truncate(image, off_t(Self.size * 2)) == 0)
        #expect(try await size(nodes.source) == "\(Self.size)")
        #expect(rename(image, image + ".old") == 0)
        _ = try nodes.scratch.write([1, 2, 3], to: "disk.raw")
        #expect(try await size(nodes.source) == "\(Self.size)")
        #expect(count("keep the one that was opened", in: nodes.source) == 1, "\(nodes.source.messages)")
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await nodes.source.wait(for: "moved to")
        #expect(try nodes.destinationImage == before)
        #expect(try await size(nodes.source) == "\(Self.size)")
    }

    // MARK: Cut short

    @Test("An image cut short -> reads, writes and status beyond its end fail, and one line says so")
    func cut() async throws {
        let image = try makeDisk()
        let node = try await node(image, ["--dirty-bitmap", "backup"])
        let output = try await run(
            """
            watcher = connect(uris[0], "base:allocation")
            os.truncate(image, 3 * MB)
            # The first read that fails is what notices it.
            print(letters(old[0], 3 * MB), letters(old[0], 3 * MB - 1))
            def status(): return watcher.block_status(MB, 3 * MB, lambda *_: 0)
            def write(at, count): return attempt(lambda: old[0].pwrite(b"z" * count, at, nbd.CMD_FLAG_FUA))
            print(attempt(status), write(3 * MB + 4096, 4096), write(4 * MB - 1, 1), write(3 * MB - 1, 2), write(3 * MB - 4096, 4096))
            print(attempt(lambda: old[0].zero(4096, 3 * MB)), attempt(lambda: old[0].trim(4096, 3 * MB)))
            print(os.stat(image).st_size // MB, fresh(uris[0], 0))
            # Somebody has put it right.
            with open(image, "r+b") as file:
                file.seek(3 * MB)
                file.write(b"R" * MB)
            print(fresh(uris[0], 3 * MB, 4 * MB - 1), write(4 * MB - 2, 2), letters(old[0], 3 * MB, 4 * MB - 1))
            """, [image, node.uri()])
        #expect(
            output == """
                ['error'] ['A']
                error error error error None
                error error
                3 [3, 'A']
                [4, 'R', 'R'] None ['R', 'z']
                """)
        let line = "cut short from \(Self.size) to \(3 << 20) bytes"
        #expect(count(line, in: node) == 1, "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    @Test("Block status right after an image was cut short -> an error, not a hole")
    func cutStatus() async throws {
        let image = try makeDisk()
        let node = try await node(image)
        let output = try await run(
            """
            h = connect(uris[0], "base:allocation")
            os.truncate(image, 3 * MB)
            print(attempt(lambda: h.block_status(MB, 3 * MB, lambda *_: 0)))
            """, [image, node.uri()])
        #expect(output == "error")
        try await node.wait(for: "cut short from \(Self.size) to \(3 << 20) bytes")
        #expect(try await node.stop() == 0)
    }

    // MARK: Everything at once

    @Test("Random changes under changing clients -> the node serves the final image")
    func anything() async throws {
        let image = try makeDisk()
        let node = try await node(image, ["--dirty-bitmap", "backup"])
        var random = Seeded.fresh()
        let output = try await run(
            """
            import random, signal, threading
            random.seed(\(random.next() >> 1))
            over = threading.Event()
            def visit(uri):
                while not over.is_set():
                    def work():
                        h = nbd.NBD()
                        h.set_strict_mode(0)
                        for context in ["base:allocation", "qemu:dirty-bitmap:backup"]: h.add_meta_context(context)
                        h.connect_uri(uri)
                        size = h.get_size()
                        for _ in range(random.randrange(8)):
                            at = random.randrange(size - 4096)
                            attempt(lambda: h.pwrite(b"w" * 4096, at))
                            attempt(lambda: h.pread(4096, at))
                            attempt(lambda: h.trim(4096, at))
                            attempt(lambda: h.block_status(size - at, at, lambda *_: 0))
                        h.shutdown()
                    attempt(work)
            visitors = [threading.Thread(target=visit, args=(uris[0],)) for _ in range(4)]
            for visitor in visitors: visitor.start()
            for _ in range(120):
                kind = random.randrange(6)
                size = random.randrange(1, 24) * 200000 + random.randrange(3)
                if kind < 3: os.truncate(image, size)
                elif kind == 3:
                    make(image + ".new", "B", size)
                    os.rename(image + ".new", image)
                elif kind == 4: os.kill(\(node.processIdentifier), signal.SIGHUP)
                else: subprocess.run(["\(Nearblock.path)", "checkpoint", "disk", "--control", "\(node.control)"], check=True)
            over.set()
            for visitor in visitors: visitor.join()
            os.truncate(image, 3 * MB)
            h = connect(uris[0])
            h.pwrite(b"z" * MB, 2 * MB, nbd.CMD_FLAG_FUA)
            print(h.get_size() // MB, letters(h, 3 * MB - 1), open(image, "rb").read()[2 * MB:] == b"z" * MB)
            """, [image, node.uri()])
        #expect(output == "3 ['z'] True")
        #expect(!node.messages.contains("Fatal error"), "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    // MARK: Block devices

    @Test("A block device grows -> new clients see the new size", .enabled(if: LoopDevice.isPossible))
    func device() async throws {
        let file = try makeDisk()
        let device = try await LoopDevice(file: file, sectorSize: 512)
        let node = try await node(device.path)
        let output = try await run(
            """
            subprocess.run(["truncate", "-s", str(6 * MB), "\(file)"], check=True)
            subprocess.run(["/usr/sbin/losetup", "-c", image], check=True)
            new = connect(uris[0])
            new.pwrite(b"n" * 512, 6 * MB - 512, nbd.CMD_FLAG_FUA)
            print(old[0].get_size() // MB, new.get_size() // MB, letters(old[0], 0), letters(new, 0, 6 * MB - 1))
            """, [device.path, node.uri()])
        #expect(output == "4 6 ['A'] ['A', 'n']")
        #expect(try await node.stop() == 0)
        try await device.remove()
    }

    // MARK: Many

    @Test("Thousands of exports -> all are answered, and clients see earlier changes")
    func many() async throws {
        let image = try makeDisk()
        let count = 500
        var text = ""
        for number in 0..<count {
            _ = try scratch.hole(1 << 20, "disk-\(number).raw")
            text += "[export e\(number)]\nimage = \(scratch.file("disk-\(number).raw"))\n"
        }
        let configuration = try scratch.write(Array(text.utf8), to: "nearblock.conf")
        let node = try await NodeProcess(scratch.file("node"), ["--config", configuration])
        let output = try await run(
            """
            folder = os.path.dirname(image)
            h = nbd.NBD()
            h.set_opt_mode(True)
            h.connect_uri(uris[0])
            def sizes():
                found = set()
                for number in range(\(count)):
                    h.set_export_name(f"e{number}")
                    h.opt_info()
                    found.add(h.get_size() // MB)
                return found
            print(sizes())
            """, [image, node.uri("e0")])
        #expect(output == "{1}")
        #expect(try await node.stop() == 0)
    }
}
