import Foundation
import TestSupport
import Testing

/// Dirty bitmaps of disks that move.
@Suite("Bitmaps that move with their disks", .timeLimit(.minutes(10)))
struct MovedBitmapTests {
    private static let size = 8 << 20

    private func nodes() async throws -> ConfiguredNodes {
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("disk.raw", megabytes: Self.size >> 20)
            return "[export disk]\nimage = \(scratch.file("disk.raw"))\ndirty-bitmap = backup\n"
        }
        // From here on it shows only what is written.
        for _ in 0..<2 { try await checkpoint(nodes.source) }
        return nodes
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

    /// The marked runs, as nbdinfo shows them.
    private func marked(_ node: NodeProcess) async throws -> [Range<Int>] {
        let map = try await Command.run("nbdinfo", "--map=qemu:dirty-bitmap:backup", "--json", node.uri())
        let runs = try JSONSerialization.jsonObject(with: Data(map.output.utf8)) as? [[String: Any]] ?? []
        return runs.filter { $0["type"] as? Int == 1 }.compactMap { run in
            guard let start = run["offset"] as? Int, let length = run["length"] as? Int else { return nil }
            return start..<start + length
        }
    }

    /// The starts of the marked runs after a checkpoint, in KiB.
    private func written(_ node: NodeProcess) async throws -> [Int] {
        try await checkpoint(node)
        return try await marked(node).map { $0.lowerBound >> 10 }
    }

    private func restartDestination(_ nodes: ConfiguredNodes) async throws {
        #expect(try await nodes.destination.stop() == 0)
        try await nodes.restartDestination()
    }

    @Test(
        "Writes before, during and after a move, there and back -> each checkpoint shows exactly those since the last one",
        arguments: ["converged", "now"])
    func thereAndBack(switchover: String) async throws {
        let nodes = try await nodes()
        try await write(nodes.source, at: "64k")
        try await checkpoint(nodes.source)
        try await write(nodes.source, at: "1M")
        #expect(try await nodes.beginSlowly("disk"))
        try await write(nodes.source, at: "2M")
        if switchover == "now" { #expect(try await nodes.source.ask(["switch", "disk"]).status == 0) }
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        try await waitUntil("it is whole") { try await nodes.stateThere(of: "disk") == "serving " }
        // Through the node that forwards, and at the new one.
        try await write(nodes.source, at: "3M")
        try await write(nodes.destination, at: "4M")
        // A backup that began before the move can go on.
        #expect(try await marked(nodes.destination).map { $0.lowerBound >> 10 } == [64])
        #expect(try await written(nodes.destination) == [1024, 2048, 3072, 4096], "\(nodes.destination.messages)")
        try await write(nodes.destination, at: "5M")
        try await restartDestination(nodes)
        #expect(try await marked(nodes.destination).map { $0.lowerBound >> 10 } == [1024, 2048, 3072, 4096])
        #expect(try await nodes.moveBack("disk", ["--switch", switchover]).status == 0)
        try await write(nodes.source, at: "6M")
        #expect(try await written(nodes.source) == [5120, 6144], "\(nodes.source.messages)")
        try await write(nodes.source, at: "7M")
        #expect(try await nodes.source.stop() == 0)
        try await nodes.restartSource()
        #expect(try await written(nodes.source) == [7168], "\(nodes.source.messages)")
    }

    @Test("A full backup at the source, and incrementals at both nodes -> equal to the disk")
    func backups() async throws {
        let nodes = try await nodes()
        let backup = nodes.scratch.file("backup.raw")
        _ = try await Command.run("cp", [nodes.scratch.file("disk.raw"), backup])
        /// As virtnbdbackup: the map by `nbdinfo`, the data by NBD.
        func backUp(_ node: NodeProcess) async throws {
            try await checkpoint(node)
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: backup))
            for run in try await marked(node) {
                let part = nodes.scratch.file("part")
                let read = try await Command.run(
                    "nbdsh", "-u", node.uri(), "-c",
                    "open('\(part)', 'wb').write(h.pread(\(run.count), \(run.lowerBound)))")
                #expect(read.status == 0, "\(read)")
                try file.seek(toOffset: UInt64(run.lowerBound))
                try file.write(contentsOf: Data(contentsOf: URL(fileURLWithPath: part)))
            }
            try file.close()
        }
        func expectEqual(_ node: NodeProcess) async throws {
            let compared = try await Command.run(
                "qemu-img", ["compare", "-f", "raw", "-F", "raw", node.uri(), backup])
            #expect(compared.status == 0, "\(compared)")
        }
        try await write(nodes.source, at: "100k")
        #expect(try await nodes.migrate("disk").status == 0)
        try await write(nodes.source, at: "200k")
        try await backUp(nodes.destination)
        try await expectEqual(nodes.destination)
        try await write(nodes.destination, at: "300k")
        #expect(try await nodes.moveBack("disk").status == 0)
        try await write(nodes.source, at: "400k")
        try await backUp(nodes.source)
        try await expectEqual(nodes.source)
    }

    @Test("The destination is killed after the move -> its bitmap shows everything, and the log says so")
    func killed() async throws {
        let nodes = try await nodes()
        #expect(try await nodes.migrate("disk").status == 0)
        #expect(try await written(nodes.destination) == [])
        try await nodes.restartDestination()
        #expect(
            nodes.destination.messages.contains("disk: its dirty bitmap is invalid and shows all blocks"),
            "\(nodes.destination.messages)")
        try await checkpoint(nodes.destination)
        #expect(try await marked(nodes.destination) == [0..<Self.size])
        // So it does at the source once the disk is back.
        #expect(try await nodes.moveBack("disk").status == 0)
        #expect(try await marked(nodes.source) == [0..<Self.size])
    }

    @Test("The disk is resized at the destination -> the bitmap stays, and shows the new end")
    func resized() async throws {
        let nodes = try await nodes()
        #expect(try await nodes.migrate("disk").status == 0)
        try await write(nodes.destination, at: "1M")
        #expect(try await nodes.destination.ask(["resize", "disk", "9M"]).status == 0)
        #expect(try await written(nodes.destination) == [1024, 8192], "\(nodes.destination.messages)")
    }
}
