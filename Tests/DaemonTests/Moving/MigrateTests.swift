import Foundation
import TestSupport
import Testing

@Suite("Two nodes", .timeLimit(.minutes(10)))
struct MigrateTests {
    @Test("Migration under a verifying fio -> images, exports and ledger agree")
    func underLoad() async throws {
        let nodes = try await TwoNodes(megabytes: 24, index: true)
        try FileManager.default.copyItem(
            atPath: nodes.scratch.file("disk.raw"), toPath: nodes.scratch.file("n.raw"))
        let index = ["index", "add", "--index", nodes.scratch.file("index"), nodes.scratch.file("n.raw")]
        #expect(try await Nearblock.run(index).status == 0)

        let fio = try ChildProcess(
            "/usr/bin/fio",
            [
                "--name=guest", "--ioengine=nbd", "--uri=\(nodes.source.uri())", "--rw=randwrite",
                "--bs=4k",
                "--iodepth=4", "--size=8M", "--offset=8M", "--rate=,4M", "--verify=crc32c", "--do_verify=1",
                "--verify_fatal=1", "--aux-path=\(nodes.scratch.path)",
                "--output=\(nodes.scratch.file("fio.log"))",
            ])
        try await waitUntil("fio writes") { try nodes.sourceImage != nodes.scratch.data("n.raw") }
        let result = try await nodes.migrate(["--rate", "200M"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.isEmpty, "no progress without a terminal")
        let status = try await onThread { fio.waitUntilExit() }
        #expect(
            status == 0,
            "\((try? String(contentsOfFile: nodes.scratch.file("fio.log"), encoding: .utf8)) ?? "")")

        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let ledger = try #require(report["ledger"] as? [String: Int])
        let wire = try #require(report["wire"] as? [String: Int])
        #expect(report["state"] as? String == "complete")
        #expect(Set(ledger.keys) == ["zero", "present", "repeated", "neighbour", "link"])
        #expect(Set(wire.keys) == ["data", "fingerprints", "control", "total"])
        #expect(ledger.values.reduce(0, +) == 24 << 20 + (report["resent"] as! Int))
        #expect(wire["data"]! + wire["fingerprints"]! + wire["control"]! == wire["total"]!)
        #expect(ledger["neighbour"]! > 8 << 20)

        for (node, name) in [(nodes.source, "from-source"), (nodes.destination, "from-destination")] {
            #expect(try await Command.run("nbdcopy", [node.uri(), nodes.scratch.file(name)]).status == 0)
            #expect(try nodes.scratch.data(name) == nodes.destinationImage)
        }
        // A slow machine leaves the rest to post-copy, after which the source's image is released.
        let sourceStatus = try await nodes.source.ask(["status", "--json"]).output
        #expect(
            sourceStatus.contains(#""state":"moved""#) || sourceStatus.contains(#""state":"released""#),
            "\(sourceStatus)")
        let again = try await nodes.migrate()
        #expect(again.status == 1)
        #expect(again.errors.contains("has moved"))
    }

    @Test(
        "Invariant 6: cancel -> served as before; a second migration meanwhile -> refused"
    )
    func cancelled() async throws {
        let nodes = try await TwoNodes()
        let before = try nodes.sourceImage
        try await nodes.beginSlowMigration()
        let second = try await nodes.migrate()
        #expect(second.status == 1)
        #expect(second.errors.contains("already"))
        #expect(
            try await Command.run("nbdinfo", [nodes.destination.uri()]).status != 0,
            "no client before the switchover")
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        try await waitUntil("it serves") { try await nodes.source.ask(["status"]).output.contains("serving") }
        #expect(try nodes.sourceImage == before)
        try await waitUntil("the destination is clean") {
            try FileManager.default.contentsOfDirectory(atPath: nodes.images).isEmpty
        }
        #expect(try await nodes.migrate().status == 0)
        #expect(try nodes.destinationImage == before)
    }

    @Test("No index, or a damaged one -> the disk moves")
    func damagedIndex() async throws {
        let nodes = try await TwoNodes(index: true)
        let index = nodes.scratch.file("index")
        #expect(
            try await Nearblock.run(["index", "add", "--index", index, nodes.scratch.file("disk.raw")]).status
                == 0)
        for file in try FileManager.default.contentsOfDirectory(atPath: index) where file != "index.json" {
            truncate("\(index)/\(file)", 100)
        }
        let before = try nodes.sourceImage
        #expect(try await nodes.migrate().status == 0)
        #expect(try nodes.destinationImage == before)
        #expect(nodes.destination.messages.contains(index), "the damage is named")
    }

    @Test("Full file system at the destination -> an error, nothing kept, both nodes survive")
    func full() async throws {
        let scratch = Scratch()
        let small = try SmallFileSystem(on: scratch.file("small"), size: "3M")
        defer { small.unmount() }
        let nodes = try await TwoNodes(images: "\(small.path)/images")
        let before = try nodes.sourceImage
        let result = try await nodes.migrate()
        #expect(result.status == 6, "the status of no room")
        #expect(result.errors.contains("No space left"), "\(result.errors)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: nodes.images).isEmpty)
        #expect(try await nodes.source.ask(["status"]).output.contains("serving"))
        #expect(try await nodes.destination.ask(["status"]).status == 0)
        #expect(
            try await Command.run(
                "qemu-io",
                ["-f", "raw", "-c", "write -P 7 0 64k", "-c", "read -P 7 0 64k", nodes.source.uri()]
            ).status == 0)
        #expect(try nodes.sourceImage[65536...] == before[65536...])
    }

    @Test("Both nodes killed after the move -> one writer, and no guest write lost")
    func restarts() async throws {
        let nodes = try await TwoNodes()
        #expect(try await nodes.migrate().status == 0)
        func write(_ pattern: Int) async throws {
            let result = try await Command.run(
                "qemu-io",
                [
                    "-f", "raw", "-c", "write -f -P \(pattern) 0 64k", "-c", "read -P \(pattern) 0 64k",
                    nodes.source.uri(),
                ])
            #expect(result.status == 0, "\(result.output) \(result.errors)")
            #expect(try nodes.destinationImage.prefix(65536) == Data(repeating: UInt8(pattern), count: 65536))
        }
        try await write(1)
        let left = try nodes.sourceImage
        try await nodes.restartSource()
        try await write(2)
        try await nodes.restartDestination()
        try await write(3)
        try await nodes.restartSource()
        try await nodes.restartDestination()
        try await write(4)
        #expect(try nodes.sourceImage == left, "no write reaches the old image")
        #expect(try await nodes.source.stop() == 0)
        #expect(try await nodes.destination.stop() == 0)
    }

    @Test(
        "A disk moves on over three nodes -> only the last serves it, also after restarts; it may return"
    )
    func chain() async throws {
        let nodes = try await TwoNodes()
        let last = try await TwoNodes(megabytes: 1, name: "other")
        #expect(try await nodes.migrate().status == 0)
        let onward = try await nodes.destination.ask(["migrate", "disk", "--to", "127.0.0.1:\(last.port)"])
        #expect(onward.status == 0, "\(onward.errors)")
        let left = try nodes.destinationImage
        for pattern in 1...3 {
            if pattern == 2 { try await nodes.restartDestination() }
            if pattern == 3 { try await nodes.restartSource() }
            let written = try await Command.run(
                "qemu-io",
                [
                    "-f", "raw", "-c", "write -P \(pattern) 0 64k", "-c", "read -P \(pattern) 0 64k",
                    nodes.source.uri(),
                ])
            #expect(written.status == 0, "\(written.output)")
            let image = try Data(contentsOf: URL(fileURLWithPath: "\(last.images)/disk.raw"))
            #expect(image.prefix(65536) == Data(repeating: UInt8(pattern), count: 65536))
        }
        #expect(try nodes.destinationImage == left, "no write reaches the image in the middle")
        let back = try await last.destination.ask(["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)"])
        #expect(back.status == 0, "\(back.errors)")
        // After its restart, the middle node must still know by which migration the first node forwards.
        for pattern in 8...9 {
            let written = try await Command.run(
                "qemu-io",
                [
                    "-f", "raw", "-c", "write -P \(pattern) 0 64k", "-c", "read -P \(pattern) 0 64k",
                    nodes.source.uri(),
                ])
            #expect(written.status == 0, "\(written.output)")
            #expect(
                try nodes.destinationImage.prefix(65536) == Data(repeating: UInt8(pattern), count: 65536))
            if pattern == 8 { try await nodes.restartDestination() }
        }
    }

    @Test("SIGTERM at a source whose destination is gone -> it ends, and tells the waiting client")
    func stopsWithoutDestination() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        #expect(try await nodes.migrate().status == 0)
        try await nodes.destination.kill()
        let client = try ChildProcess(
            "/usr/bin/qemu-io", ["-f", "raw", "-c", "write 0 4k", nodes.source.uri()])
        try await Task.sleep(for: .milliseconds(500))
        #expect(client.isRunning, "it waits for the destination")
        #expect(try await nodes.source.ask(["status"]).output.contains("cannot reach"))
        let began = Date()
        #expect(try await nodes.source.stop() == 0)
        #expect(Date().timeIntervalSince(began) < 15)
        _ = try await onThread { client.waitUntilExit() }
    }

    @Test("Invariants 6 and 7: source killed while copying -> resumed at its next start")
    func sourceKilled() async throws {
        let nodes = try await TwoNodes()
        let before = try nodes.sourceImage
        try await nodes.beginSlowMigration()
        try await nodes.restartSource()
        #expect(try nodes.sourceImage == before)
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it has moved") {
            try await ["moved", "released"].contains(nodes.source.exports().first?["state"] as? String)
        }
        #expect(try nodes.destinationImage == before)
    }

    @Test("Cancel of a resumed migration -> it stays cancelled")
    func resumedAndCancelled() async throws {
        let nodes = try await TwoNodes()
        try await nodes.beginSlowMigration()
        try await nodes.destination.kill()
        try await nodes.restartSource()
        // No node answers at the destination, so the migration waits.
        try await Task.sleep(for: .milliseconds(300))
        #expect(try await nodes.source.ask(["cancel", "disk"]).status == 0)
        try await waitUntil("it serves") { try await nodes.source.ask(["status"]).output.contains("serving") }
        try await nodes.restartSource()
        try await Task.sleep(for: .milliseconds(300))
        #expect(try await nodes.source.ask(["status"]).output.contains("serving"))
    }

    @Test("Invariant 7: destination killed while copying -> the migration goes on by itself")
    func destinationKilled() async throws {
        let nodes = try await TwoNodes()
        let before = try nodes.sourceImage
        try await nodes.beginSlowMigration()
        try await nodes.restartDestination()
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it has moved") {
            try await ["moved", "released"].contains(nodes.source.exports().first?["state"] as? String)
        }
        #expect(try nodes.destinationImage == before)
    }

    @Test("SIGTERM with requests in flight -> acknowledged writes are in the image")
    func terminated() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 4)
        let node = try await NodeProcess(scratch.file("n"), [scratch.file("disk.raw"), "--export", "disk"])
        let written = try await Command.run("qemu-io", ["-f", "raw", "-c", "write -P 9 0 1M", node.uri()])
        #expect(written.status == 0)
        #expect(try await node.stop() == 0)
        #expect(try scratch.data("disk.raw").prefix(1 << 20) == Data(repeating: 9, count: 1 << 20))
    }
}
