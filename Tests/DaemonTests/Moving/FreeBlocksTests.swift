import Foundation
import TestSupport
import Testing

/// Disks with a real ext4 move: blocks that its bitmaps call free are sent last, and never left out.
@Suite("Free blocks of a disk that moves", .timeLimit(.minutes(10)))
struct FreeBlocksTests {
    /// Two nodes; the disk has an ext4 of 24 MiB, of which 12 MiB are files and 8 MiB were.
    private func nodes() async throws -> TwoNodes {
        let nodes = try await TwoNodes(megabytes: 24)
        var random = Seeded.fresh()
        let image = nodes.scratch.file("disk.raw")
        // Nothing of what was there before.
        try await succeed("/usr/bin/fallocate", ["--punch-hole", "--offset", "0", "--length", "24MiB", image])
        try await succeed("/usr/sbin/mke2fs", ["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^has_journal", image])
        var script = ""
        // Used ones lie behind those that are deleted.
        for (name, size) in [("gone", 8 << 20), ("kept", 12 << 20)] {
            script += "write \(try nodes.scratch.write(random.bytes(size), to: name)) \(name)\n"
        }
        let commands = try nodes.scratch.write(Array((script + "rm gone\n").utf8), to: "commands")
        try await succeed("/usr/sbin/debugfs", ["-w", "-f", commands, image])
        return nodes
    }

    private func succeed(_ program: String, _ arguments: [String]) async throws {
        let result = try await Command.run(program, arguments)
        try #require(result.status == 0, "\(program): \(result)")
    }

    private func freeBytes(_ object: [String: Any]) -> (known: Int, sent: Int)? {
        guard let free = object["free"] as? [String: Int], let known = free["known"], let sent = free["sent"] else {
            return nil
        }
        return (known, sent)
    }

    private func check(_ output: [UInt8], _ nodes: TwoNodes) throws {
        let report = try #require(try JSONSerialization.jsonObject(with: Data(output)) as? [String: Any])
        let free = try #require(freeBytes(report), "\(report)")
        // Free zeros that are no hole need not be sent.
        #expect(free.known < 9 << 20 && (8 << 20...free.known).contains(free.sent), "\(free)")
        #expect(try nodes.destinationImage == nodes.sourceImage)
    }

    @Test("While it is copied -> free blocks are sent when all others have been, and counted")
    func copied() async throws {
        let nodes = try await nodes()
        let output = try nodes.scratch.write([], to: "output")
        let command = ["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--json", "--rate", "10M"]
        let migration = try ChildProcess(
            Nearblock.path, command + ["--control", nodes.source.control], output: output)
        var seen = (before: 0, after: 0)
        try await waitUntil("it has moved") {
            guard let export = try await nodes.source.exports().first else { return false }
            if let progress = export["progress"] as? [String: Any], progress["round"] as? Int == 1,
                let free = freeBytes(progress), let done = progress["done"] as? Int
            {
                if free.sent > 0 { seen.after += 1 } else { seen.before += 1 }
                // Slow enough to be seen, and no slower.
                if seen.after == 1 { _ = try await nodes.source.ask(["rate", "disk", "1G"]) }
                #expect(free.sent == 0 || done - free.sent >= 24 << 20 - free.known, "\(progress)")
            }
            return ["moved", "released"].contains(export["state"] as? String)
        }
        #expect(seen.before > 0 && seen.after > 0, "both parts were seen: \(seen)")
        let status = try await onThread { migration.waitUntilExit() }
        #expect(status == 0)
        try check(try nodes.scratch.contents("output"), nodes)
    }

    @Test("A dry run -> says how much is free and no zeros, and how to save it")
    func estimated() async throws {
        let nodes = try await nodes()
        let result = try await nodes.migrate(["--dry-run"])
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        let free = try #require(freeBytes(object ?? [:]), "\(result)")
        #expect((8 << 20...(8 << 20) + 65536).contains(free.known) && free.sent == 0, "\(free)")
        let text = try await nodes.source.ask(["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--dry-run"])
        #expect(text.output.contains("and no zeros: 8.0"), "\(text)")
        #expect(text.output.contains("nearblock trim disk"), "\(text)")
    }

    @Test("Switched over at once -> all of them come by post-copy, and are counted")
    func postCopy() async throws {
        let nodes = try await nodes()
        let result = try await nodes.migrate(["--switch", "now", "--rate", "100M"])
        #expect(result.status == 0, "\(result.errors)")
        try check(Array(result.output.utf8), nodes)
    }
}
