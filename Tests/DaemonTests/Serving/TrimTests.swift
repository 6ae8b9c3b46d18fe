import Foundation
import TestSupport
import Testing

/// `nearblock trim`: real file systems lose their free blocks and nothing else.
@Suite("Trim of a disk that nobody uses", .timeLimit(.minutes(15)))
struct TrimTests {
    private let scratch = Scratch()

    private func report(_ result: Command.Result) throws -> (parts: [[String: Any]], punched: Int) {
        #expect(result.status == 0, "\(result)")
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        let parts = try #require(object?["parts"] as? [[String: Any]])
        return (parts, parts.reduce(0) { $0 + ($1["punched"] as? Int ?? 0) })
    }

    private func expectRefused(_ answer: Command.Result, _ reason: String) {
        #expect(answer.status == 1, "\(answer)")
        #expect(answer.errors.contains(reason), "\(answer.errors)")
        #expect(answer.errors.filter { $0 == "\n" }.count == 1, "\(answer.errors)")
    }

    @Test(
        "Each file system -> free blocks are holes, files and checks are as before",
        arguments: FileSystemDisk.Kind.allCases)
    func trimmed(_ kind: FileSystemDisk.Kind) async throws {
        let disk = try await FileSystemDisk(kind, scratch)
        let node = try await NodeProcess(scratch.file("node"), [disk.path, "--export", "disk"])
        let before = disk.allocated
        if ["btrfs", "ntfs"].contains(kind.name) {
            expectRefused(try await node.ask(["trim", "disk"]), "it does not show whether it is mounted")
        }
        let off = ["--guest-is-off"]
        let told = try report(try await node.ask(["trim", "disk", "--dry-run", "--json"] + off))
        // The host's file system may be late with blocks of its own.
        #expect(told.punched == 0 && abs(disk.allocated - before) < 1 << 20)
        let data = try #require(told.parts.first?["data"] as? Int)
        #expect(told.parts.count == 1 && told.parts[0]["fileSystem"] as? String == kind.name)
        // 37 MiB of files were deleted.
        #expect(data > 30 << 20, "\(told)")
        let (_, punched) = try report(try await node.ask(["trim", "disk", "--json"] + off))
        #expect(punched == data)
        #expect(disk.allocated <= before - (30 << 20), "\(before) -> \(disk.allocated)")
        let again = try await node.ask(["trim", "disk"] + off)
        // Parts of pages are zeros from then on, and no holes.
        let left = kind == .ntfs512 ? "KiB" : "0 B"
        #expect(again.status == 0 && again.output.split(separator: "\n")[0].contains(left), "\(again)")
        #expect(try await node.stop() == 0)
        try await disk.check()
    }

    @Test("A client that is connected, or file systems that are not clean -> a line, and nothing is punched")
    func refused() async throws {
        let disk = try await FileSystemDisk(.ext4, scratch, copyMounted: "touch now; sync -f .")
        let node = try await NodeProcess(scratch.file("node"), [disk.path, "--export", "disk", "--dirty-bitmap", "b"])
        let before = disk.allocated
        for options in [[], ["--dry-run"]] {
            expectRefused(
                try await node.ask(["trim", "disk"] + options),
                "disk can't be trimmed: ext4 at byte 1048576: it was not unmounted cleanly")
        }
        let script = try scratch.write(
            Array(
                """
                import nbd, subprocess, sys
                h = nbd.NBD()
                h.connect_uri(sys.argv[1])
                sys.exit(subprocess.run(sys.argv[2:]).returncode)
                """.utf8), to: "client.py")
        let arguments = [script, node.uri(), Nearblock.path, "trim", "disk", "--control", node.control]
        expectRefused(try await Command.run("python3", arguments), "disk has a client; disconnect it first")
        expectRefused(try await node.ask(["trim", "other"]), "no export 'other'")
        #expect(abs(disk.allocated - before) < 1 << 20)
    }

    @Test("Read-only, another server's disk, an image without file systems -> a line each")
    func unusable() async throws {
        let image = try scratch.write([UInt8](repeating: 9, count: 1 << 20), to: "plain.raw")
        let other = try await NodeProcess(scratch.file("other"), [image, "--export", "disk"])
        let node = try await NodeProcess(scratch.file("node"), [other.uri(), "--export", "disk"])
        expectRefused(try await node.ask(["trim", "disk"]), "not a raw file or device of its own")
        #expect(try await node.stop() == 0)
        expectRefused(try await other.ask(["trim", "disk"]), "no file system whose free blocks can be read")
        #expect(try await other.stop() == 0)
        let readOnly = try await NodeProcess(scratch.file("node"), [image, "--export", "disk", "--read-only"])
        expectRefused(try await readOnly.ask(["trim", "disk"]), "disk is read-only here")
    }

    @Test("While the disk moves, and once it has moved -> refused")
    func moving() async throws {
        let nodes = try await TwoNodes()
        try await nodes.beginWaitingMigration()
        expectRefused(try await nodes.source.ask(["trim", "disk"]), "disk is being migrated")
        #expect(try await nodes.source.ask(["switch", "disk", "--wait"]).status == 0)
        try await waitUntil("it has moved") {
            try await !nodes.source.ask(["trim", "disk"]).errors.contains("is being migrated")
        }
        expectRefused(try await nodes.source.ask(["trim", "disk"]), "disk has moved")
        expectRefused(try await nodes.destination.ask(["trim", "disk"]), "has clients at another node")
    }

    @Test("A dirty bitmap -> has the punched blocks, and no others")
    func bitmap() async throws {
        let disk = try await FileSystemDisk(.ext4, scratch)
        let node = try await NodeProcess(scratch.file("node"), [disk.path, "--export", "disk", "--dirty-bitmap", "b"])
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        let (_, punched) = try report(try await node.ask(["trim", "disk", "--json"]))
        #expect(try await node.ask(["checkpoint", "disk"]).status == 0)
        let map = try await Command.run("nbdinfo", "--map=qemu:dirty-bitmap:b", "--totals", node.uri())
        #expect(map.status == 0, "\(map)")
        let dirty = map.output.split(separator: "\n").compactMap { line -> Int? in
            let fields = line.split(separator: " ")
            return fields.count >= 3 && fields[2] == "1" ? Int(fields[0]) : nil
        }
        #expect(dirty == [punched], "\(map.output) \(punched)")
    }

    @Test("migrate --trim -> the free blocks do not cross; without, they do")
    func migrated() async throws {
        var wire: [Int] = []
        for options in [[], ["--trim"]] {
            let nodes = try await TwoNodes(megabytes: 1)
            let disk = try await FileSystemDisk(.ext4, Scratch())
            _ = try await nodes.source.stop()
            let source = try await NodeProcess(nodes.scratch.file("t"), [disk.path, "--export", "disk"])
            let result = try await source.ask(
                ["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--json"] + options)
            #expect(result.status == 0, "\(result)")
            let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            wire.append(try #require((object?["wire"] as? [String: Any])?["total"] as? Int))
            try await disk.check()
        }
        // 37 MiB of random bytes were deleted.
        #expect(wire[0] > wire[1] + (30 << 20), "\(wire)")
    }
}
