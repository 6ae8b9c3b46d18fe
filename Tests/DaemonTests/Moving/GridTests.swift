import Foundation
import TestSupport
import Testing

/// Disks with the same file systems on partitions that begin at other sectors.
@Suite("Grids of real partitions", .timeLimit(.minutes(10)))
struct GridTests {
    private static let sector = 512

    private func succeed(_ program: String, _ arguments: [String]) async throws {
        let result = try await Command.run(program, arguments)
        try #require(result.status == 0, "\(program): \(result)")
    }

    /// An ext4 with one file of random bytes. Sizes in MiB.
    private func fileSystem(
        _ name: String, size: Int, file: Int, _ scratch: Scratch, _ random: inout Seeded
    ) async throws -> Data {
        let path = try scratch.hole(size << 20, name)
        try await succeed("/usr/sbin/mke2fs", ["-q", "-F", "-t", "ext4", "-b", "4096", path])
        let data = try scratch.write(random.bytes(file << 20), to: "\(name).data")
        let commands = try scratch.write(Array("write \(data) data\n".utf8), to: "\(name).commands")
        try await succeed("/usr/sbin/debugfs", ["-w", "-f", commands, path])
        return try Data(contentsOf: URL(fileURLWithPath: path))
    }

    /// A new disk with a table, and contents at some sectors; a node that serves the old one goes on with that.
    private func make(_ name: String, megabytes: Int, _ table: String, _ parts: [(sector: Int, Data)]) async throws {
        let path = name + ".new"
        let script = name + ".table"
        try Data(table.utf8).write(to: URL(fileURLWithPath: script))
        try await succeed("/bin/sh", ["-c", "truncate -s \(megabytes)M \(path)"])
        try await succeed("/bin/sh", ["-c", "/usr/sbin/sfdisk --quiet --force \(path) < \(script)"])
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        for part in parts {
            try file.seek(toOffset: UInt64(part.sector * Self.sector))
            file.write(part.1)
        }
        try file.close()
        try await succeed("/bin/mv", [path, name])
    }

    private func index(_ neighbour: String, _ scratch: Scratch) async throws {
        let added = try await Nearblock.run(["index", "add", "--index", scratch.file("index"), neighbour])
        #expect(added.status == 0, "\(added.errors)")
    }

    /// Sends the disk, and returns the bytes that crossed.
    private func migrate(_ nodes: TwoNodes, _ options: [String] = []) async throws -> (wire: Int, ledger: [String: Int])
    {
        let result = try await nodes.migrate(options)
        try #require(result.status == 0, "\(result.errors)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let wire = try #require((report["wire"] as? [String: Any])?["total"] as? Int)
        return (wire, try #require(report["ledger"] as? [String: Int]))
    }

    private static let oneAt63 = "label: dos\nstart=63, type=83\n"
    private static let oneAt2048 = "label: dos\nstart=2048, type=83\n"

    @Test(
        "The same ext4 at sectors 63 and 2048, and back -> next to nothing crosses",
        arguments: [(63, 2048), (2048, 63)])
    func shifted(_ here: Int, _ there: Int) async throws {
        var random = Seeded.fresh()
        let nodes = try await TwoNodes(megabytes: 24, index: true)
        let system = try await fileSystem("system", size: 20, file: 12, nodes.scratch, &random)
        try await make(
            nodes.scratch.file("disk.raw"), megabytes: 24, here == 63 ? Self.oneAt63 : Self.oneAt2048, [(here, system)])
        try await nodes.restartSource()
        let neighbour = nodes.scratch.file("neighbour.raw")
        try await make(neighbour, megabytes: 24, there == 63 ? Self.oneAt63 : Self.oneAt2048, [(there, system)])
        try await index(neighbour, nodes.scratch)
        let moved = try await migrate(nodes)
        #expect(moved.wire < 1 << 20 && moved.ledger["neighbour"] ?? 0 > 11 << 20, "\(moved)")
        #expect(try nodes.destinationImage == nodes.sourceImage)
    }

    @Test("Partitions with several origins, one of them in an extended partition, by pre-copy and post-copy")
    func mixed() async throws {
        var random = Seeded.fresh()
        for switchover in ["converged", "now"] {
            let nodes = try await TwoNodes(megabytes: 40, index: true)
            let first = try await fileSystem("first", size: 12, file: 6, nodes.scratch, &random)
            let second = try await fileSystem("second", size: 12, file: 6, nodes.scratch, &random)
            let table = """
                label: dos
                start=63, size=24577, type=83
                start=24643, type=5
                start=24706, size=30001, type=83
                """
            try await make(
                nodes.scratch.file("disk.raw"), megabytes: 40, table, [(63, first), (24706, second)])
            try await nodes.restartSource()
            let neighbour = nodes.scratch.file("neighbour.raw")
            // The other way round, and on GPT.
            try await make(
                neighbour, megabytes: 40, "label: gpt\nstart=2048, size=24576\nstart=30001, size=24576\n",
                [(2048, second), (30001, first)])
            try await index(neighbour, nodes.scratch)
            let moved = try await migrate(nodes, ["--switch", switchover])
            #expect(moved.wire < 1 << 20 && moved.ledger["neighbour"] ?? 0 > 11 << 20, "\(switchover): \(moved)")
            #expect(try nodes.destinationImage == nodes.sourceImage)
        }
    }

    @Test("A disk that comes back to its old image -> only what was written there crosses, on the grid of then")
    func back() async throws {
        var random = Seeded.fresh()
        let nodes = try await TwoNodes(megabytes: 16, sourceTakesDisks: true)
        let system = try await fileSystem("system", size: 14, file: 10, nodes.scratch, &random)
        try await make(nodes.scratch.file("disk.raw"), megabytes: 16, Self.oneAt63, [(63, system)])
        try await nodes.restartSource()
        _ = try await migrate(nodes)
        let written = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -P 5 31000 9000", "-c", "flush", nodes.destination.uri()])
        #expect(written.status == 0, "\(written.output)")
        let result = try await nodes.destination.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.sourcePort)", "--json",
        ])
        try #require(result.status == 0, "\(result.errors)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let ledger = try #require(report["ledger"] as? [String: Int])
        #expect(ledger["present"] ?? 0 > 9 << 20 && ledger["link"] ?? .max <= 32 * 4096, "\(ledger)")
        #expect(try nodes.sourceImage == nodes.destinationImage)
        #expect(try nodes.sourceImage[31_000..<40_000] == Data(repeating: 5, count: 9000))
    }

    @Test("A client that verifies what it reads while blocks are missing, nodes killed meanwhile -> the right bytes")
    func postCopy() async throws {
        var random = Seeded.fresh()
        let nodes = try await TwoNodes(megabytes: 16)
        let system = try await fileSystem("system", size: 14, file: 10, nodes.scratch, &random)
        try await make(nodes.scratch.file("disk.raw"), megabytes: 16, Self.oneAt63, [(63, system)])
        try await nodes.restartSource()
        var expected = try nodes.sourceImage
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "now", "--rate", "1M", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it is served there") { try await nodes.destination.exports().first?["missing"] != nil }
        // Across the seam, and in the middle of blocks.
        for (offset, length, pattern) in [(32_000, 600, 1), (31_744, 512, 2), (5_000_000, 9000, 3)] {
            let written = try await Command.run(
                "qemu-io",
                [
                    "-f", "raw", "-c", "write -P \(pattern) \(offset) \(length)", "-c", "flush",
                    nodes.destination.uri(),
                ])
            #expect(written.status == 0, "\(written.output)")
            expected.replaceSubrange(
                offset..<offset + length, with: Data(repeating: UInt8(pattern), count: length))
        }
        try await nodes.restartDestination()
        try await nodes.restartSource()
        try await waitUntil("the source hears of it in its new life") {
            try await nodes.source.exports().first?["missing"] != nil
        }
        #expect(try await nodes.source.ask(["rate", "disk"]).status == 0)
        let read = nodes.scratch.file("read")
        #expect(try await Command.run("nbdcopy", [nodes.destination.uri(), read]).status == 0)
        #expect(try nodes.scratch.data("read") == expected)
        try await waitUntil("the source is released") {
            try await nodes.source.exports().first?["state"] as? String == "released"
        }
        #expect(try nodes.destinationImage == expected)
    }
}
