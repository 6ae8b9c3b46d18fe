import Foundation
import TestSupport
import Testing

/// `serve --prepare COMMAND --release COMMAND` at the destination.
@Suite("Places that commands prepare", .timeLimit(.minutes(10)))
struct TargetTests {
    private static let garbageFile = "head -c $((NEARBLOCK_SIZE + 1000000)) /dev/urandom >$PLACE; echo $PLACE"

    /// The bytes of the place behind the disk.
    private func tail(_ nodes: TargetNodes) throws -> Data {
        try nodes.scratch.data("place").dropFirst(nodes.scratch.data("disk.raw").count)
    }

    @Test(
        "A larger file full of garbage -> the disk is right, with its size, over restarts; nothing is released",
        arguments: ["converged", "now"])
    func garbage(switchover: String) async throws {
        let nodes = try await TargetNodes(prepare: "[ -e $PLACE ] || exit 1\necho format=raw $PLACE") { scratch in
            var random = Seeded(.random(in: 0 ... .max))
            _ = try scratch.write(random.bytes(9 << 20), to: "place")
        }
        let behind = try tail(nodes)
        let moved = try await nodes.migrate(["--switch", switchover])
        #expect(moved.status == 0, "\(moved.errors)")
        let size = try await Command.run("nbdinfo", ["--size", nodes.destination.uri()])
        #expect(size.output == "\(8 << 20)\n")
        try await nodes.expectDisk(at: nodes.destination)
        #expect(try tail(nodes) == behind, "what is behind the disk is not the disk's")
        try await nodes.restartDestination()
        try await nodes.expectDisk(at: nodes.destination)
        #expect(nodes.calls.count(of: "prepare") == 1)
        #expect(nodes.calls.count(of: "release") == 0)
        #expect(try nodes.records.isEmpty)
        try await waitUntil("nothing else is left") {
            try FileManager.default.contentsOfDirectory(atPath: nodes.scratch.file("d/images")).isEmpty
        }

        // Back into the source's image, and once more into the place, which is the node's own by now.
        let back = try await nodes.destination.ask(["migrate", "disk", "--to", "127.0.0.1:\(nodes.sourcePort)"])
        #expect(back.status == 0, "\(back.errors)")
        let again = try await nodes.migrate()
        #expect(again.status == 0, "\(again.errors)")
        #expect(nodes.calls.count == 1, "\(nodes.calls)")
        try await nodes.restartDestination()
        try await nodes.expectDisk(at: nodes.destination)
    }

    @Test(
        "A larger block device full of garbage -> the disk is right, before and after a restart",
        .enabled(if: LoopDevice.isPossible), arguments: [(512, "converged"), (4096, "now"), (4096, "converged")])
    func device(sector: Int, switchover: String) async throws {
        let scratch = Scratch()
        var random = Seeded(.random(in: 0 ... .max))
        let device = try await LoopDevice(
            file: scratch.write(random.bytes(12 << 20), to: "device"), sectorSize: sector)
        let path = device.path
        let outcome: Result<Void, any Error>
        do {
            let nodes = try await TargetNodes(prepare: "echo \(path)")
            let moved = try await nodes.migrate(["--switch", switchover])
            #expect(moved.status == 0, "\(moved.errors)")
            try await nodes.expectDisk(at: nodes.destination)
            try await nodes.restartDestination()
            try await nodes.expectDisk(at: nodes.destination)
            #expect(nodes.calls.count == 1)
            _ = try await nodes.destination.stop()
            outcome = .success(())
        } catch { outcome = .failure(error) }
        try await device.remove()
        try outcome.get()
    }

    /// The ready scripts.
    private static let scripts = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "../../../nbd-scripts/targets"
    ).standardizedFileURL.path

    @Test("A qcow2 image by the ready script -> the disk, sparse, over a restart and back by delta; released on cancel")
    func qcow2() async throws {
        let script = "exec \(Self.scripts)/qcow2 --folder $SCRATCH/q"
        let nodes = try await TargetNodes(prepare: "\(script) prepare", release: "\(script) release") { scratch in
            try FileManager.default.createDirectory(
                atPath: scratch.file("q"), withIntermediateDirectories: true)
        }
        let image = nodes.scratch.file("q/disk.qcow2")
        try await nodes.begin(["--rate", "1M"])
        try await nodes.wait(for: "copying", at: nodes.source)
        #expect(FileManager.default.fileExists(atPath: image))
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        try await waitUntil("it is released") { try nodes.records.isEmpty }
        #expect(!FileManager.default.fileExists(atPath: image), "\(nodes.destination.messages)")

        let moved = try await nodes.migrate()
        #expect(moved.status == 0, "\(moved.errors)")
        try await nodes.expectDisk(at: nodes.destination)
        try await nodes.restartDestination()
        try await nodes.expectDisk(at: nodes.destination)
        let back = try await nodes.destination.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.sourcePort)", "--json",
        ])
        #expect(back.status == 0, "\(back.errors)")
        // Nothing was written meanwhile: only hashes cross, either way.
        func wire(_ result: Command.Result) throws -> Int {
            let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            return (report?["wire"] as? [String: Any])?["total"] as? Int ?? .max
        }
        #expect(try wire(back) < 65536, "\(back.output)")
        let again = try await nodes.migrate()
        #expect(try again.status == 0 && wire(again) < 65536, "\(again)")
        #expect(try await nodes.destination.stop() == 0)
        let compared = try await Command.run(
            "qemu-img", ["compare", "-f", "raw", "-F", "qcow2", nodes.scratch.file("disk.raw"), image])
        #expect(compared.status == 0, "\(compared)")
        #expect(nodes.calls.count(of: "prepare") == 2 && nodes.calls.count(of: "release") == 1, "\(nodes.calls)")
    }

    @Test(
        "The helper of the place is killed while the disk arrives -> the migration goes on by itself, and the copy is right"
    )
    func killedHelper() async throws {
        let nodes = try await TargetNodes(
            prepare: """
                [ -e $PLACE ] || qemu-img create -q -f qcow2 $PLACE $NEARBLOCK_SIZE
                echo format=qcow2 $PLACE
                """)
        try await nodes.begin(["--rate", "10M"])
        try await nodes.wait(for: "copying", at: nodes.source)
        // Some of it has been written, and nothing is flushed before the end of the round.
        try await waitUntil("data has come") {
            let progress = try await nodes.source.exports().first?["progress"] as? [String: Any]
            return progress?["done"] as? Int ?? 0 > 2 << 20
        }
        let helpers = Processes.with(argument: "\(nodes.scratch.file("d"))/state/storage-")
        kill(try #require(helpers.first), SIGKILL)
        try await waitUntil("what was lost is noticed") {
            nodes.destination.messages.contains("its source is to send again what was lost")
                || nodes.source.messages.contains("may have lost what was not flushed")
        }
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await nodes.waitUntilMoved()
        try await nodes.expectDisk(at: nodes.destination)
        #expect(nodes.calls.count(of: "prepare") == 1 && nodes.calls.count(of: "release") == 0, "\(nodes.calls)")
        #expect(try await nodes.destination.stop() == 0)
        let compared = try await Command.run(
            "qemu-img", ["compare", "-f", "raw", "-F", "qcow2", nodes.scratch.file("disk.raw"), nodes.place])
        #expect(compared.status == 0, "\(compared)")
    }

    @Test("The helper of the place is killed while blocks are missing -> no request fails, and nothing written is lost")
    func killedHelperInPostCopy() async throws {
        let nodes = try await TargetNodes(
            prepare: """
                [ -e $PLACE ] || qemu-img create -q -f qcow2 $PLACE $NEARBLOCK_SIZE
                echo format=qcow2 $PLACE
                """)
        try await nodes.begin(["--switch", "now", "--rate", "1M"])
        try await waitUntil("blocks are missing") { try await nodes.destination.exports().first?["missing"] != nil }
        // Nothing is flushed: what the guest has written is in the map of what is here.
        let steps = """
            import nbd, os, random
            h = nbd.NBD(); h.connect_uri("\(nodes.destination.uri())")
            expected = bytearray(open("\(nodes.scratch.file("disk.raw"))", "rb").read())
            def helper():
                for entry in os.listdir("/proc"):
                    try:
                        if b"\(nodes.scratch.file("d"))/state/storage-" in open(f"/proc/{entry}/cmdline", "rb").read(): return int(entry)
                    except (OSError, ValueError): pass
            def write(count, offset):
                data = random.randbytes(count)
                h.pwrite(data, offset); expected[offset:offset + count] = data
            for round in range(3):
                for _ in range(20): write(4096, random.randrange(2048) * 4096)
                for _ in range(5): write(700, random.randrange((8 << 20) - 700))
                offset = random.randrange(128) << 16
                h.zero(65536, offset); expected[offset:offset + 65536] = bytes(65536)
                while (process := helper()) is None: pass
                os.kill(process, 9)
                for _ in range(20):
                    offset = random.randrange(2048) * 4096
                    assert h.pread(4096, offset) == expected[offset:offset + 4096], offset
            h.flush()
            open("\(nodes.scratch.file("expected"))", "wb").write(expected)
            """
        let script = try nodes.scratch.write(Array(steps.utf8), to: "client.py")
        let client = try await Command.run("python3", script)
        #expect(client.status == 0, "\(client) \(nodes.destination.messages)")
        #expect(try await nodes.destination.exports().first?["missing"] != nil, "blocks were missing all the time")
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it is whole") { try await nodes.destination.exports().first?["missing"] == nil }
        try await nodes.expectDisk(at: nodes.destination, nodes.scratch.data("expected"))
        #expect(try await nodes.destination.stop() == 0)
        let compared = try await Command.run(
            "qemu-img", ["compare", "-f", "raw", "-F", "qcow2", nodes.scratch.file("expected"), nodes.place])
        #expect(compared.status == 0, "\(compared)")
    }

    @Test(
        "A server's disk full of garbage -> the disk is right, before and after a restart",
        arguments: ["converged", "now"])
    func server(switchover: String) async throws {
        let nodes = try await TargetNodes(
            prepare: """
                [ -e $SCRATCH/socket ] || \
                    qemu-nbd --fork --pid-file $SCRATCH/pid -t --shared=0 -k $SCRATCH/socket -f raw $PLACE >/dev/null 2>&1
                echo "nbd+unix:///?socket=$SCRATCH/socket"
                """
        ) { scratch in
            var random = Seeded(.random(in: 0 ... .max))
            _ = try scratch.write(random.bytes(8 << 20), to: "place")
        }
        let moved = try await nodes.migrate(["--switch", switchover])
        #expect(moved.status == 0, "\(moved.errors)")
        try await nodes.expectDisk(at: nodes.destination)
        try await nodes.restartDestination()
        try await nodes.expectDisk(at: nodes.destination)
        #expect(nodes.calls.count == 1)
        #expect(try await nodes.destination.stop() == 0)
        let pid = try String(contentsOfFile: nodes.scratch.file("pid"), encoding: .utf8)
        if let server = pid_t(pid.trimmingCharacters(in: .whitespacesAndNewlines)) { kill(server, SIGTERM) }
        try await waitUntil("the server has ended") {
            !FileManager.default.fileExists(atPath: nodes.scratch.file("socket"))
        }
        #expect(try nodes.scratch.data("place") == nodes.scratch.data("disk.raw"))
    }

    @Test("A server that takes seconds to say where its disk holds data -> the node answers meanwhile")
    func slowServer() async throws {
        let nodes = try await TargetNodes(
            prepare: "touch $SCRATCH/prepared; echo \"nbd+unix:///?socket=$SCRATCH/socket\"")
        let socket = nodes.scratch.file("socket")
        let server = try ChildProcess(
            "/usr/bin/nbdkit", ["-f", "-U", socket, "--filter=delay", "memory", "8M", "delay-extents=5"])
        defer { server.signal(SIGTERM) }
        try await waitUntil("nbdkit listens") { UnixAddress.isListening(at: socket) }
        try await nodes.begin()
        try await waitUntil("the place is prepared") {
            FileManager.default.fileExists(atPath: nodes.scratch.file("prepared"))
        }
        var answers = 0
        while !nodes.destination.messages.contains("gets its place") {
            #expect(try await nodes.destination.ask(["status"]).status == 0)
            answers += 1
        }
        // A node that waits for the server answers the first, and perhaps the second, before the wait.
        #expect(answers > 4, "\(answers)")
        try await nodes.waitUntilMoved()
    }

    @Test("A new file -> what is zero or a hole at the source takes no space")
    func sparse() async throws {
        let nodes = try await TargetNodes(prepare: "truncate -s $NEARBLOCK_SIZE $PLACE; echo $PLACE")
        let moved = try await nodes.migrate()
        #expect(moved.status == 0, "\(moved.errors)")
        var info = stat()
        #expect(stat(nodes.place, &info) == 0)
        let allocated = Int(info.st_blocks) * 512
        // Every third block is zeros.
        let data = (8 << 20) / 3 * 2
        #expect(allocated <= data + data / 50 + 65536)
        #expect(try nodes.scratch.data("place") == nodes.scratch.data("disk.raw"))
    }

    @Test(
        "A command that refuses or prints no usable place -> one line at the source; undone unless it has refused",
        arguments: [
            ("printf 'first\\nthe pool\\033[31m is full\\n' >&2; exit 3", "the pool[31m is full", 0),
            ("exit 3", "exit status 3", 0),
            ("kill -9 $$", "exit status 137", 1),
            ("true", "has printed nothing", 1),
            ("echo relative", "not an absolute path", 1),
            ("echo $PLACE; echo $PLACE", "more than one line", 1),
            ("printf '\\377\\376'", "no text", 1),
            ("echo format=qed $PLACE", "format=qed", 1),
            ("head -c 1G /dev/zero", "more than 4096 bytes", 1),
            ("echo /nonexistent/place", "No such file", 1),
            ("echo $SCRATCH", "Is a directory", 1),
            ("head -c 4096 /dev/urandom >$PLACE; echo $PLACE", "has 4096 bytes", 1),
            ("head -c 9000000 /dev/urandom >$PLACE; echo $SCRATCH/used", "open for writing elsewhere", 0),
        ])
    func refused(prepare: String, reason: String, releases: Int) async throws {
        let nodes = try await TargetNodes(prepare: prepare)
        _ = try nodes.scratch.hole(16 << 20, "used")
        let other = try await NodeProcess(nodes.scratch.file("o"), [nodes.scratch.file("used")])
        let refused = try await nodes.migrate()
        #expect(refused.status == 5)
        #expect(refused.errors.contains(reason), "\(refused.errors)")
        #expect(refused.errors.filter { $0 == "\n" }.count == 1, "\(refused.errors)")
        #expect(!refused.errors.contains("\u{1b}"), "\(refused.errors)")
        try await waitUntil("it is undone") { try nodes.records.isEmpty }
        #expect(nodes.calls.count(of: "release") == releases, "\(nodes.calls)")
        #expect(try await nodes.source.exports()[0]["state"] as? String == "serving")
        #expect(try await other.stop() == 0)
        try nodes.setPrepare(Self.garbageFile)
        #expect(try await nodes.migrate().status == 0, "nothing breaks the next migration")
        try await nodes.expectDisk(at: nodes.destination)
    }

    @Test("The place of a disk that has arrived is printed again -> refused, and that disk stays")
    func ownImage() async throws {
        let nodes = try await TargetNodes(prepare: "echo $PLACE", place: { _ = try $0.hole(16 << 20, "place") })
        let moved = try await nodes.migrate()
        #expect(moved.status == 0, "\(moved.errors)")
        try nodes.scratch.makeImage("second.raw", megabytes: 1)
        let second = try await NodeProcess(
            nodes.scratch.file("s2"), [nodes.scratch.file("second.raw"), "--export", "second"])
        let refused = try await second.ask(["migrate", "second", "--to", "127.0.0.1:\(nodes.port)"])
        #expect(refused.status == 5)
        #expect(refused.errors.contains("open for writing elsewhere"), "\(refused.errors)")
        try await waitUntil("it is undone") { try nodes.records.isEmpty }
        try await nodes.expectDisk(at: nodes.destination)
    }

    @Test("Cancel while copying, at either node -> released once, and migrated again", arguments: [false, true])
    func cancelled(isThere: Bool) async throws {
        let nodes = try await TargetNodes(prepare: Self.garbageFile, release: "rm -f $PLACE")
        try await nodes.begin(["--rate", "1M"])
        try await nodes.wait(for: "copying", at: nodes.source)
        let cancelled = try await (isThere ? nodes.destination : nodes.source).ask(["cancel", "disk"])
        #expect(cancelled.status == 0, "\(cancelled.errors)")
        try await waitUntil("it is released") { try nodes.records.isEmpty }
        #expect(!FileManager.default.fileExists(atPath: nodes.place))
        #expect(nodes.calls.count(of: "release") == 1, "\(nodes.calls)")
        #expect(nodes.calls[1].hasPrefix("release disk \(8 << 20) \(nodes.place) "), "\(nodes.calls)")
        #expect(nodes.calls[0].suffix(32) == nodes.calls[1].suffix(32), "one arrival")
        // The source hears of a cancel there a moment later.
        try await nodes.wait(for: "serving", at: nodes.source)
        #expect(try await nodes.migrate().status == 0)
        try await nodes.expectDisk(at: nodes.destination)
        #expect(nodes.calls.count(of: "release") == 1)
        #expect(nodes.calls[0].suffix(32) != nodes.calls[2].suffix(32), "another arrival")
    }

    @Test("Cancel during the command -> it is ended with its children, and undone")
    func cancelledCommand() async throws {
        let nodes = try await TargetNodes(prepare: "sleep 1000 & echo $! >$SCRATCH/child\nwait")
        try await nodes.begin()
        try await waitUntil("it runs") { (try? nodes.scratch.contents("child").count) ?? 0 > 1 }
        let text = try String(contentsOfFile: nodes.scratch.file("child"), encoding: .utf8)
        let child = try #require(pid_t(text.dropLast()))
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        try await waitUntil("it is undone") { try nodes.records.isEmpty }
        #expect(nodes.calls.count(of: "release") == 1)
        try await waitUntil("the child has ended") { kill(child, 0) != 0 }
    }

    @Test("The node is killed during the command -> the command is asked again for the same arrival")
    func killedDuringCommand() async throws {
        let nodes = try await TargetNodes(
            prepare: "[ -e $SCRATCH/go ] || exec sleep 20\ntruncate -s $NEARBLOCK_SIZE $PLACE; echo $PLACE")
        try await nodes.begin()
        try await waitUntil("it runs") { nodes.calls.count == 1 }
        try await nodes.restartDestination { try Data().write(to: URL(fileURLWithPath: nodes.scratch.file("go"))) }
        // The source had not been let in, and has given up.
        let again = try await nodes.migrate()
        #expect(again.status == 0, "\(again.errors)")
        try await nodes.expectDisk(at: nodes.destination)
        #expect(nodes.calls.count(of: "prepare") == 2 && nodes.calls.count(of: "release") == 0, "\(nodes.calls)")
        #expect(Set(nodes.calls.map { $0.suffix(32) }).count == 1)
        #expect(try nodes.records.isEmpty)
    }

    @Test(
        "The node is killed while copying -> the same place is used, and what came is kept", arguments: [false, true])
    func killedWhileCopying(isSource: Bool) async throws {
        let nodes = try await TargetNodes(prepare: Self.garbageFile)
        try await nodes.begin(["--rate", "8M"])
        try await waitUntil("some of it has come") {
            let disk = try nodes.scratch.data("disk.raw")
            return (try? nodes.scratch.data("place").prefix(2 << 20)) == disk.prefix(2 << 20)
        }
        if isSource { try await nodes.restartSource() } else { try await nodes.restartDestination() }
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await nodes.waitUntilMoved()
        try await nodes.expectDisk(at: nodes.destination)
        #expect(nodes.calls.count == 1, "\(nodes.calls)")
        #expect(try nodes.records.isEmpty)
    }

    @Test("A place that nothing comes into any more -> nearblock cancel at the destination releases it")
    func abandoned() async throws {
        let nodes = try await TargetNodes(
            prepare: Self.garbageFile, release: "[ -e $SCRATCH/go ] || { echo busy >&2; exit 1; }")
        try await nodes.begin(["--rate", "1M"])
        try await nodes.wait(for: "copying", at: nodes.source)
        try await nodes.source.kill()
        try await waitUntil("it is known there") { nodes.destination.messages.contains("has failed") }
        let failed = try await nodes.destination.ask(["cancel", "disk"])
        #expect(failed.status == 1 && failed.errors.contains("is not released"), "\(failed.errors)")
        #expect(nodes.destination.messages.contains("busy"))
        try await nodes.restartDestination { try Data().write(to: URL(fileURLWithPath: nodes.scratch.file("go"))) }
        try await waitUntil("the next life has released it") { try nodes.records.isEmpty }
        #expect(nodes.calls.count(of: "release") == 2)
        let unknown = try await nodes.destination.ask(["cancel", "disk"])
        #expect(unknown.status == 1 && unknown.errors.contains("there is no export"), "\(unknown.errors)")
    }

    @Test(
        "A place without room -> the migration fails before the switchover, names it, and releases it",
        .enabled(if: SmallFileSystem.isPossible))
    func full() async throws {
        let nodes = try await TargetNodes(
            prepare: "truncate -s $NEARBLOCK_SIZE $SCRATCH/small/disk; echo $SCRATCH/small/disk")
        let small = try SmallFileSystem(on: nodes.scratch.file("small"), size: "2M")
        defer { small.unmount() }
        let refused = try await nodes.migrate()
        #expect(refused.status == 6 && refused.errors.contains("No space left"), "\(refused.errors)")
        #expect(refused.errors.contains("small"), "\(refused.errors)")
        try await waitUntil("it is released") { try nodes.records.isEmpty }
        let failed = try await nodes.migrate(["--no-space-check"])
        #expect(failed.status == 1 && failed.errors.contains("small/disk"), "\(failed.errors)")
        #expect(failed.errors.contains("No space left on device"), "\(failed.errors)")
        try await waitUntil("it is released") { try nodes.records.isEmpty }
        #expect(nodes.calls.count(of: "prepare") == 2 && nodes.calls.count(of: "release") == 2, "\(nodes.calls)")
        #expect(try await nodes.source.exports()[0]["state"] as? String == "serving")
    }

    @Test("Commands of a domain -> used for the disks of that domain, others go into the images directory")
    func domains() async throws {
        let nodes = try await TargetNodes(prepare: "exit 1")
        let port = try FreePort.find()
        let script = "#!/bin/sh\ntruncate -s $NEARBLOCK_SIZE \(nodes.place)\necho \(nodes.place)\n"
        let file = try nodes.scratch.write(Array(script.utf8), to: "fast command")
        chmod(file, 0o755)
        let text = """
            [node]
            peer-listen = 127.0.0.1:\(port)
            images = \(nodes.scratch.file("images"))
            [domain fast]
            prepare = "\(file)" 'two words'
            """
        let configuration = try nodes.scratch.write(Array(text.utf8), to: "domains.conf")
        let other = try await NodeProcess(nodes.scratch.file("o"), ["--config", configuration])
        func migrate(_ domain: String) async throws -> Command.Result {
            try await nodes.source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)", "--domain", domain])
        }
        #expect(try await migrate("fast").status == 0)
        try await nodes.expectDisk(at: other)
        #expect(FileManager.default.fileExists(atPath: nodes.place))
    }

    @Test(
        "Commands that can't be run -> the node does not start, and says why",
        arguments: [
            (["--prepare", "lvm"], "begins with the path of a program"),
            (["--prepare", "/nonexistent/lvm"], "can't be run"), (["--prepare", "/usr"], "is not a program"),
            (["--prepare", "/bin/true 'x"], "quot"), (["--prepare", ""], "--prepare"),
            (["--release", "/bin/true"], "--release needs --prepare"),
        ])
    func badCommands(arguments: [String], reason: String) async throws {
        let scratch = Scratch()
        let result = try await Nearblock.run(
            [
                "serve", "--peer-listen", "127.0.0.1:\(try FreePort.find())", "--images", scratch.path, "--state",
                scratch.file("state"), "--control", scratch.file("control"),
            ] + arguments)
        #expect(result.status == 2, "\(result)")
        #expect(result.errors.lowercased().contains(reason), "\(result.errors)")
    }
}
