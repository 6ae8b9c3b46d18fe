import Foundation
import TestSupport
import Testing

/// Images in other formats, made by qemu-img, where raw ones are expected.
@Suite("Images that are not raw", .timeLimit(.minutes(10)))
struct ImageFormatTests {
    private let scratch = Scratch()

    private func make(_ format: String, _ name: String, _ options: [String] = []) async throws -> String {
        let path = scratch.file(name)
        var made = try await Command.run("qemu-img", ["create", "-f", format] + options + [path, "8M"])
        // QEMU measures how fast this processor hashes, and gives up where the clock of its thread is too coarse.
        for _ in 0..<20 where made.status != 0 && made.errors.contains("accurate CPU usage") {
            made = try await Command.run("qemu-img", ["create", "-f", format] + options + [path, "8M"])
        }
        #expect(made.status == 0, "\(made)")
        return path
    }

    private func warnings(_ text: String) -> [String] {
        text.split(separator: "\n").map(String.init).filter { $0.contains(" image: the bytes of the file") }
    }

    @Test(
        "A served image of another format -> one warning with QEMU's name of the format",
        arguments: [
            ("qcow2", "qcow2", []), ("qcow2", "qcow2", ["-o", "compat=0.10"]), ("qcow", "qcow", []), ("qed", "qed", []),
            ("vmdk", "vmdk", []), ("vmdk", "vmdk", ["-o", "subformat=monolithicFlat"]), ("vdi", "vdi", []),
            ("vhdx", "vhdx", []), ("vpc", "vpc", []), ("raw", nil, []),
            ("luks", nil, ["-o", "key-secret=k", "--object", "secret,id=k,data=x"]),
        ] as [(String, String?, [String])])
    func formats(_ format: String, _ name: String?, _ options: [String]) async throws {
        let image = try await make(format, "an image", options)
        let result = try await Nearblock.run([
            "serve", image, "--run", "nbdinfo --size \"$uri\"", "--state", scratch.file("state"), "--control",
            scratch.file("control"),
        ])
        // There is only a warning: the file is served as raw.
        let size = try FileManager.default.attributesOfItem(atPath: image)[.size] as? Int
        #expect(result.status == 0 && result.output == "\(size ?? 0)\n", "\(result)")
        let told = warnings(result.errors)
        #expect(told.count == (name == nil ? 0 : 1), "\(result)")
        if let name, let line = told.first {
            #expect(line.contains("\(image) is a \(name) image"), "\(line)")
            let advice =
                ["qcow2", "vmdk", "vdi", "vhdx"].contains(name)
                ? "--format \(name)" : "qemu-nbd -t -f \(name) -k /run/image.sock '\(image)'"
            #expect(line.contains(advice), "\(line)")
        }
    }

    @Test("The command that the warning advises -> serves the disk")
    func advice() async throws {
        let image = try await make("qcow2", "disk.qcow2")
        let socket = scratch.file("q.sock")
        let script = """
            qemu-nbd -t -f qcow2 -k '\(socket)' '\(image)' & server=$!
            for i in $(seq 200); do test -S '\(socket)' && break; sleep 0.05; done
            '\(Nearblock.path)' serve 'nbd+unix:///?socket=\(socket)' --run 'nbdinfo --size "$uri"' \
                --state '\(scratch.file("state"))' --control '\(scratch.file("control"))'
            '\(Nearblock.path)' index add --index '\(scratch.file("index"))' 'nbd+unix:///?socket=\(socket)'
            kill $server; wait
            """
        let result = try await Command.run("bash", "-c", script)
        #expect(result.output.hasPrefix("8388608\n") && result.output.contains("2048 blocks"), "\(result)")
        #expect(warnings(result.errors).isEmpty, "\(result)")
    }

    @Test("An indexed or measured image of another format -> one warning in each command")
    func indexed() async throws {
        let image = try await make("qcow2", "disk.qcow2")
        try scratch.makeImage("plain.raw", megabytes: 1)
        let index = ["--index", scratch.file("index")]
        let commands = [
            ["index", "add"] + index + [image, scratch.file("plain.raw"), image], ["index", "refresh"] + index,
            ["index", "refresh"] + index + [image], ["index", "similarity", image] + index,
        ]
        for command in commands {
            let result = try await Nearblock.run(command)
            #expect(result.status == 0, "\(result)")
            let told = warnings(result.errors)
            #expect(told.count == 1 && told.first?.contains("index add --index DIR") == true, "\(command): \(result)")
        }
    }

    @Test("One image -> one warning: at the start, at SIGHUP, or where it arrives")
    func movedAndReread() async throws {
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        _ = try await make("qcow2", "one.qcow2")
        _ = try await make("vdi", "two.vdi")
        _ = try scratch.hole(8 << 20, "late.raw")
        func configuration(_ names: String...) -> [UInt8] {
            Array(names.map { "[export \($0)]\nimage = \(scratch.file($0))\n" }.joined().utf8)
        }
        let path = try scratch.write(configuration("one.qcow2", "late.raw"), to: "n.conf")
        let source = try await NodeProcess(scratch.file("s"), ["--config", path])
        _ = try scratch.write(configuration("one.qcow2", "late.raw", "two.vdi"), to: "n.conf")
        source.signal(SIGHUP)
        try await source.wait(for: "two.vdi is offered")
        source.signal(SIGHUP)
        for export in ["one.qcow2", "late.raw"] {
            // A guest write makes the raw image look like another format.
            let write = "h.pwrite(b'QFI\\xfb\\0\\0\\0\\3', 0); h.flush()"
            if export == "late.raw" {
                #expect(try await Command.run("nbdsh", "-u", source.uri(export), "-c", write).status == 0)
            }
            let moved = try await source.ask(["migrate", export, "--to", "127.0.0.1:\(port)"])
            #expect(moved.status == 0, "\(moved)")
        }
        let told = warnings(source.messages)
        #expect(told.count == 3, "\(source.messages)")
        #expect(told.first?.contains("one.qcow2 is a qcow2 image") == true)
        #expect(told.dropFirst().first?.contains("two.vdi is a vdi image") == true)
        #expect(told.last?.contains("late.raw is a qcow2 image") == true)
        #expect(told.last?.contains("to move the disk, serve it with --format qcow2") == true)
        try await destination.wait(for: "late.raw is a qcow2 image")
        #expect(warnings(destination.messages).count == 2, "\(destination.messages)")
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("The first block arrives by post-copy -> the warning follows then")
    func arrivesLate() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let write = "h.pwrite(b'vhdxfile', 0); h.flush()"
        #expect(try await Command.run("nbdsh", "-u", nodes.source.uri(), "-c", write).status == 0)
        #expect(try await nodes.migrate(["--switch", "now"]).status == 0)
        try await nodes.destination.wait(for: "disk.raw is a vhdx image")
        #expect(warnings(nodes.destination.messages).count == 1)
    }
}
