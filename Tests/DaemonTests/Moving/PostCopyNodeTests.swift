import Foundation
import TestSupport
import Testing

@Suite("Two nodes, before and after the switchover", .timeLimit(.minutes(10)))
struct PostCopyNodeTests {
    private func write(_ pattern: Int, _ offset: String, through node: NodeProcess) async throws {
        let result = try await Command.run(
            "qemu-io",
            [
                "-f", "raw", "-c", "write -f -P \(pattern) \(offset) 64k", "-c", "read -P \(pattern) \(offset) 64k",
                node.uri(),
            ])
        #expect(result.status == 0, "\(result.output) \(result.errors)")
    }

    private func state(of node: NodeProcess) async throws -> [String: Any] {
        try await node.exports().first ?? [:]
    }

    @Test("Invariants 2 and 7: nodes killed while blocks are missing -> no acknowledged write lost")
    func killed() async throws {
        let nodes = try await TwoNodes()
        var expected = try nodes.sourceImage
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "now", "--rate", "1M", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it is served there") { try await state(of: nodes.destination)["missing"] != nil }
        let left = try #require(try await state(of: nodes.destination)["missing"] as? Int)
        #expect(left > 0)
        for (round, pattern) in (1...4).enumerated() {
            let offset = round * 1_500_000 + 700
            let written = try await Command.run(
                "qemu-io", ["-f", "raw", "-c", "write -P \(pattern) \(offset) 5000", nodes.destination.uri()])
            #expect(written.status == 0, "\(written.output)")
            expected.replaceSubrange(offset..<offset + 5000, with: Data(repeating: UInt8(pattern), count: 5000))
            if round % 2 == 0 { try await nodes.restartDestination() } else { try await nodes.restartSource() }
        }
        #expect(try await state(of: nodes.destination)["missing"] != nil, "the kills came while blocks were missing")
        try await waitUntil("the source hears of it in its new life") {
            try await state(of: nodes.source)["missing"] != nil
        }
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        let read = nodes.scratch.file("read")
        #expect(try await Command.run("nbdcopy", [nodes.destination.uri(), read]).status == 0)
        #expect(try nodes.scratch.data("read") == expected, "reads bring what is missing")
        try await waitUntil("the source is released") {
            try await state(of: nodes.source)["state"] as? String == "released"
        }
        #expect(try await state(of: nodes.destination)["missing"] == nil)
        #expect(try nodes.destinationImage == expected)
        #expect(try FileManager.default.contentsOfDirectory(atPath: nodes.images) == ["disk.raw"])
    }

    @Test("Missing blocks -> both nodes show the remaining time")
    func timeLeft() async throws {
        let nodes = try await TwoNodes()
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "now", "--rate", "6M", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        // Wait until the rate is the link's, without the initial burst.
        try await waitUntil("it is on its way") { try await state(of: nodes.destination)["missing"] != nil }
        try await Task.sleep(for: .seconds(4))
        let said = try #require(try await state(of: nodes.destination)["secondsLeft"] as? Double)
        let progress = try #require(
            try await state(of: nodes.source)["progress"] as? [String: Any])
        let (heard, missing) = (progress["secondsLeft"] as? Double ?? 0, progress["dirty"] as? Int ?? 0)
        #expect(abs(heard - said) < said / 2, "\(heard) s at the source, \(said) s at the destination")
        #expect(missing > 0 && missing < 8 << 20, "\(progress)")
        let began = ContinuousClock.now
        try await waitUntil("all of it is there") { try await state(of: nodes.destination)["missing"] == nil }
        let took = began.duration(to: .now) / .seconds(1)
        #expect(said > took * 0.4 && said < took * 2.5, "\(said) s were said, and it took \(took) s")
    }

    @Test("Destination full during post-copy -> reads work, and post-copy goes on when there is space")
    func noRoom() async throws {
        let scratch = Scratch()
        let small = try SmallFileSystem(on: scratch.file("small"), size: "12M")
        defer { small.unmount() }
        let nodes = try await TwoNodes(images: "\(small.path)/images")
        var expected = try nodes.sourceImage
        let ballast = "\(small.path)/ballast"
        try Data(count: 8 << 20).write(to: URL(fileURLWithPath: ballast))
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "now", "--no-space-check",
            "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("there is no room") {
            try await nodes.destination.ask(["status"]).output.contains("No space left")
        }
        for node in [nodes.destination, nodes.source] {
            let read = nodes.scratch.file("read")
            let copied = try await Command.run("nbdcopy", [node.uri(), read])
            #expect(copied.status == 0, "\(copied.errors)")
            #expect(try nodes.scratch.data("read") == expected)
        }
        let partial = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -P 9 8388000 100", nodes.destination.uri()])
        if partial.output.contains("wrote 100/100") {
            // There was space for one block.
            expected.replaceSubrange(8_388_000..<8_388_100, with: Data(repeating: 9, count: 100))
        } else {
            #expect((partial.output + partial.errors).contains("No space left"), "\(partial.output) \(partial.errors)")
        }
        try FileManager.default.removeItem(atPath: ballast)
        try await waitUntil("the source is released") {
            try await state(of: nodes.source)["state"] as? String == "released"
        }
        #expect(try nodes.destinationImage == expected)
    }

    @Test("A disk moves there and back twice under writes -> only differences cross the link")
    func thereAndBack() async throws {
        let nodes = try await TwoNodes(sourceTakesDisks: true)
        #expect(try await nodes.migrate().status == 0)
        for turn in 1...3 {
            try await write(turn, "\(turn)M", through: nodes.source)
            let from = turn % 2 == 1 ? nodes.destination : nodes.source
            let port = turn % 2 == 1 ? nodes.sourcePort : nodes.port
            let moved = try await from.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)", "--json"])
            #expect(moved.status == 0, "turn \(turn): \(moved.errors)")
            let report = try #require(
                try JSONSerialization.jsonObject(with: Data(moved.output.utf8)) as? [String: Any])
            let ledger = try #require(report["ledger"] as? [String: Int])
            #expect(ledger["link"]! <= 1 << 20, "turn \(turn): \(ledger)")
            #expect(ledger["present"]! > 4 << 20, "turn \(turn): \(ledger)")
            try await write(turn + 10, "5M", through: turn % 2 == 0 ? nodes.source : nodes.destination)
            if turn == 2 {
                try await nodes.restartSource()
                try await nodes.restartDestination()
            }
        }
        #expect(try nodes.sourceImage.dropFirst(5 << 20).prefix(65536) == Data(repeating: 13, count: 65536))
        try await write(99, "6M", through: nodes.source)
        #expect(try nodes.sourceImage.dropFirst(6 << 20).prefix(65536) == Data(repeating: 99, count: 65536))
    }

    @Test("Restarts while a disk comes back -> never served from the old image")
    func comingBack() async throws {
        let nodes = try await TwoNodes(sourceTakesDisks: true)
        #expect(try await nodes.migrate().status == 0)
        try await write(5, "7M", through: nodes.destination)
        let expected = try nodes.destinationImage
        let begun = try await nodes.destination.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.sourcePort)", "--switch", "now", "--rate", "64K", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it is switched over") {
            try await nodes.source.ask(["status"]).output.contains("only at the source")
        }
        // No node can supply the missing blocks now, and clients must not get other data.
        try await nodes.destination.kill()
        try await nodes.restartSource()
        let reader = try ChildProcess(
            "/usr/bin/qemu-io", ["-r", "-f", "raw", "-c", "read -P 5 7M 64k", nodes.source.uri()])
        try await Task.sleep(for: .milliseconds(700))
        #expect(reader.isRunning, "it waits")
        try await nodes.restartDestination()
        _ = try await onThread { reader.waitUntilExit() }
        let read = nodes.scratch.file("read")
        #expect(try await Command.run("nbdcopy", [nodes.source.uri(), read]).status == 0)
        #expect(try nodes.scratch.data("read") == expected)
    }

    @Test("First write: clients at the destination -> answered before it, and their first write starts the switchover")
    func firstWrite() async throws {
        let nodes = try await TwoNodes()
        let expected = try nodes.sourceImage
        let (source, port) = (nodes.source, nodes.port)
        let moving = Task {
            try await source.ask([
                "migrate", "disk", "--to", "127.0.0.1:\(port)", "--switch", "first-write", "--json",
            ])
        }
        try await waitUntil("it is answered there") {
            try await nodes.destination.ask(["status"]).output.contains("incoming")
        }
        let read = nodes.scratch.file("read")
        #expect(try await Command.run("nbdcopy", [nodes.destination.uri(), read]).status == 0)
        #expect(try nodes.scratch.data("read") == expected)
        let client = try ChildProcess(
            "/usr/bin/python3",
            [
                "-c",
                "import nbd, time; h = nbd.NBD(); h.connect_uri('\(nodes.destination.uri())'); time.sleep(600)",
            ])
        defer { client.signal(SIGKILL) }
        try await waitUntil("it is connected") {
            try await nodes.destination.exports()[0]["clients"] as? Int == 1
        }
        try await write(7, "1M", through: nodes.destination)
        let moved = try await moving.value
        #expect(moved.status == 0, "\(moved.errors)")
        #expect(try await state(of: nodes.destination)["clients"] as? Int == 1, "it came before the switchover")
        try await write(8, "2M", through: nodes.source)
        #expect(try nodes.destinationImage.dropFirst(2 << 20).prefix(65536) == Data(repeating: 8, count: 65536))
    }

    @Test("Source lost -> the destination waits or cancels; a later migration succeeds")
    func deserted() async throws {
        let nodes = try await TwoNodes(megabytes: 2)
        let before = try nodes.sourceImage
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "first-write", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it is answered there") {
            try await nodes.destination.ask(["status"]).output.contains("incoming")
        }
        try await nodes.source.kill()
        try await waitUntil("its source is missed") {
            try await nodes.destination.ask(["status"]).output.contains("not connected")
        }
        let writer = try ChildProcess(
            "/usr/bin/qemu-io", ["-f", "raw", "-c", "write -P 5 0 64k", nodes.destination.uri()])
        try await Task.sleep(for: .milliseconds(300))
        #expect(writer.isRunning, "it waits")
        #expect(try await nodes.destination.ask(["cancel", "disk"]).status == 0)
        _ = try await onThread { writer.waitUntilExit() }
        #expect(try await nodes.destination.ask(["status", "--json"]).output.contains("\"disk\"") == false)
        try await nodes.restartSource()
        try await waitUntil("it is answered there again") {
            try await nodes.destination.ask(["status"]).output.contains("incoming")
        }
        #expect(try nodes.sourceImage == before)
        try await write(7, "1M", through: nodes.destination)
        try await waitUntil("it has moved") {
            try await ["moved", "released"].contains(state(of: nodes.source)["state"] as? String)
        }
        #expect(try nodes.destinationImage.dropFirst(1 << 20).prefix(65536) == Data(repeating: 7, count: 65536))
    }

    @Test("Source lost before any data -> the destination waits too")
    func desertedEarly() async throws {
        let nodes = try await TwoNodes(megabytes: 2)
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "first-write", "--rate", "1K", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it is answered there") {
            try await nodes.destination.ask(["status"]).output.contains("incoming")
        }
        try await nodes.source.kill()
        try await waitUntil("its source is missed") {
            try await nodes.destination.ask(["status"]).output.contains("not connected")
        }
        try await nodes.restartSource()
        try await waitUntil("it is brought again") {
            try await !nodes.destination.ask(["status"]).output.contains("not connected")
        }
        _ = try await nodes.source.ask(["rate", "disk"])
        try await write(7, "1M", through: nodes.destination)
        try await waitUntil("it has moved") {
            try await ["moved", "released"].contains(state(of: nodes.source)["state"] as? String)
        }
    }

    @Test("nearblock switch -> a waiting disk is switched over; otherwise one line says why not")
    func manual() async throws {
        let nodes = try await TwoNodes(megabytes: 2)
        let early = try await nodes.source.ask(["switch", "disk"])
        #expect(early.status == 1 && early.errors.contains("not being migrated"))
        try await nodes.beginWaitingMigration()
        #expect(try await nodes.source.ask(["switch", "disk"]).status == 0)
        try await waitUntil("it has moved") {
            try await ["moved", "released"].contains(nodes.source.exports().first?["state"] as? String)
        }
        #expect(try nodes.destinationImage == nodes.sourceImage)
    }

    @Test("Manual switchover, write at the destination -> the write waits, and the disk stays")
    func manualOnly() async throws {
        let nodes = try await TwoNodes(megabytes: 2)
        try await nodes.beginWaitingMigration()
        let before = try nodes.sourceImage
        let writer = try ChildProcess(
            "/usr/bin/qemu-io", ["-f", "raw", "-c", "write -P 7 1M 64k", nodes.destination.uri()])
        // Wait as long as a first-write switchover would take to cross the link.
        try await Task.sleep(for: .seconds(2))
        #expect(writer.isRunning)
        #expect(try await nodes.source.ask(["status"]).output.contains("waiting"))
        #expect(try nodes.sourceImage == before)
        #expect(try await nodes.source.ask(["switch", "disk"]).status == 0)
        #expect(try await onThread { writer.waitUntilExit() } == 0)
        #expect(try Array(nodes.destinationImage[(1 << 20)..<(1 << 20) + (64 << 10)]).allSatisfy { $0 == 7 })
    }
}
