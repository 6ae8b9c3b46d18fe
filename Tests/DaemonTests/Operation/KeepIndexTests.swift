import Foundation
import TestSupport
import Testing

@Suite("An index that is kept current", .timeLimit(.minutes(10)))
struct KeepIndexTests {
    /// Returns how many blocks of `image` are in the index.
    private func found(_ image: String, _ index: String) async throws -> Int {
        let result = try await Nearblock.run([
            "index", "similarity", image, "--index", index, "--json", "--priority", "normal",
        ])
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        return try #require(object?["found"] as? Int, "\(result.errors)")
    }

    /// Index upkeep has low priority and may wait long on a busy machine, so only the suite's limit ends this.
    private func wait(for image: String, in index: String, toBeFoundIn blocks: Int) async throws {
        while try await found(image, index) < blocks { try await Task.sleep(for: .milliseconds(100)) }
    }

    @Test("Guest writes -> indexed soon, and only those blocks are read")
    func current() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 4)
        try scratch.makeImage("other.raw", megabytes: 1)
        let index = scratch.file("index")
        let node = try await NodeProcess(
            scratch.file("node"),
            [scratch.file("disk.raw"), "--export", "disk", "--index", index, "--keep-index", "0.2s"])
        try await node.wait(for: "is indexed")
        let before = try await found(scratch.file("other.raw"), index)
        #expect(try await found(scratch.file("disk.raw"), index) > 600)

        // The guest writes blocks of the other image.
        let other = scratch.file("other.raw")
        let written = try await Command.run("nbdcopy", other, node.uri())
        try #require(written.status == 0, "\(written.errors)")
        #expect(before < 170)
        try await wait(for: other, in: index, toBeFoundIn: 170)
        #expect(try await Nearblock.run(["index", "verify", "--index", index]).status == 0)
        #expect(try await node.stop() == 0)
    }

    @Test("A grown or replaced image -> indexed as it is now")
    func changed() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 2)
        try scratch.makeImage("next.raw", megabytes: 2)
        try scratch.makeImage("other.raw", megabytes: 1)
        let (disk, index) = (scratch.file("disk.raw"), scratch.file("index"))
        let node = try await NodeProcess(
            scratch.file("node"), [disk, "--export", "disk", "--index", index, "--keep-index", "0.2s"])
        try await node.wait(for: "is indexed")
        let before = try await found(scratch.file("other.raw"), index)
        #expect(truncate(disk, 4 << 20) == 0)
        let written = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -s \(scratch.file("other.raw")) 3M 1M", node.uri()])
        try #require(written.status == 0, "\(written)")
        try await wait(for: scratch.file("other.raw"), in: index, toBeFoundIn: before + 160)
        let next = try await found(scratch.file("next.raw"), index)
        #expect(rename(scratch.file("next.raw"), disk) == 0)
        #expect(try await Command.run("nbdinfo", "--size", node.uri()).output == "\(2 << 20)\n")
        try await wait(for: disk, in: index, toBeFoundIn: next + 300)
        #expect(try await node.stop() == 0)
    }

    @Test("SIGTERM while a large image is read -> the node ends without reading the rest")
    func stopped() async throws {
        let scratch = Scratch()
        let image = try scratch.hole(1 << 30, "disk.raw")
        // Data all over it, none of which is zero.
        let filled = try await Command.run("qemu-io", "-f", "raw", "-c", "write -P 7 0 1G", image)
        try #require(filled.status == 0, "\(filled.errors)")
        let index = scratch.file("index")
        let node = try await NodeProcess(
            scratch.file("node"), [image, "--export", "disk", "--index", index, "--keep-index", "10m"])
        #expect(try await node.stop() == 0)
        #expect(!node.messages.contains("indexed"), "\(node.messages)")
        let listed = try await Nearblock.run(["index", "list", "--index", index])
        #expect(listed.status == 0 && listed.output.hasPrefix("no images in the index"), "\(listed)")
    }

    @Test("A guest that makes partitions -> the table gets their grid, and follows writes on it")
    func repartitioned() async throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let index = scratch.file("index")
        let node = try await NodeProcess(
            scratch.file("node"),
            [try scratch.hole(4 << 20, "disk.raw"), "--export", "disk", "--index", index, "--keep-index", "0.2s"])
        try await node.wait(for: "is indexed")
        // As the guest would write it: the same bytes as those of a partition at sector 63.
        let other = try scratch.hole(2 << 20, "other.raw")
        let table = try scratch.write(Array("label: dos\nstart=63, type=83\n".utf8), to: "table")
        let made = try await Command.run("/bin/sh", ["-c", "/usr/sbin/sfdisk --quiet --force \(other) < \(table)"])
        try #require(made.status == 0, "\(made.errors)")
        let partition = try scratch.write(random.bytes(1 << 20), to: "partition.raw")
        #expect(try await found(partition, index) == 0)
        for (source, offset, length) in [(other, 0, 512), (partition, 63 * 512, 1 << 20)] {
            let written = try await Command.run(
                "qemu-io", ["-f", "raw", "-c", "write -s \(source) \(offset) \(length)", node.uri()])
            try #require(written.status == 0, "\(written.output)")
        }
        try await wait(for: partition, in: index, toBeFoundIn: 256)
        let later = try scratch.write(random.bytes(1 << 19), to: "later.raw")
        let written = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -s \(later) \(2 << 20 | 63 * 512) \(1 << 19)", node.uri()])
        try #require(written.status == 0, "\(written.output)")
        try await wait(for: later, in: index, toBeFoundIn: 128)
        #expect(try await Nearblock.run(["index", "verify", "--index", index]).status == 0)
        #expect(try await node.stop() == 0)
    }

    @Test("--keep-index without --index -> refused")
    func usage() async throws {
        let result = try await Nearblock.run(["serve", "x.raw", "--keep-index", "5s"])
        #expect(result.status == 2 && result.errors.contains("--index DIR"))
    }
}
