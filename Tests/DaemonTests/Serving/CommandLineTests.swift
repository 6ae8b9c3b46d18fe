import Foundation
import TestSupport
import Testing

@Suite("The command line", .timeLimit(.minutes(10)))
struct CommandLineTests {
    /// Checks for one line on standard error that begins with the program's name.
    private func expectOneLine(_ result: Command.Result, status: Int32, _ part: String) {
        #expect(result.status == status, "\(result.errors)")
        #expect(result.errors.hasPrefix("nearblock: "), "\(result.errors)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result.errors)")
        #expect(result.errors.contains(part), "\(result.errors)")
    }

    @Test(
        "An invalid command -> one line and status 2",
        arguments: [
            ["nonsense"], ["serve"], ["serve", "--peer-listen", "127.0.0.1:0"],
            ["serve", "x", "--listen", "nowhere"],
            ["migrate", "disk"], ["migrate", "disk", "--to", "x"],
            ["migrate", "disk", "--to", "h:1", "--rate", "fast"],
            ["migrate", "disk", "--to", "h:1", "--max-pause", "5"], ["index", "add"],
            ["migrate", "disk", "--to", "h:1", "--max-rounds", "few"],
            ["migrate", "disk", "--to", "h:1", "--dirty-threshold", "5X"],
            ["serve", "--export", "x", "--peer-listen", "127.0.0.1:0", "--images", "i"],
        ])
    func usage(_ arguments: [String]) async throws {
        expectOneLine(try await Nearblock.run(arguments), status: 2, "--help")
    }

    @Test(
        "Help and version -> status 0",
        arguments: [["--help"], ["serve", "--help"], ["--version"], ["index", "--help"]])
    func help(_ arguments: [String]) async throws {
        let result = try await Nearblock.run(arguments)
        #expect(result.status == 0)
        #expect(!result.output.isEmpty)
        #expect(result.errors.isEmpty)
    }

    @Test("Names of one letter -> accepted")
    func shortNames() async throws {
        let scratch = Scratch()
        try scratch.makeImage("d", megabytes: 1)
        let command =
            "cd '\(scratch.path)' && '\(Nearblock.path)' serve d --socket s --control c --state t --run 'nbdinfo \"$uri\"'"
        let result = try await Command.run("/bin/sh", ["-c", command])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("export-size"))
    }

    @Test("An image that can't be served -> one line and status 1")
    func unservable() async throws {
        let scratch = Scratch()
        try Data().write(to: URL(fileURLWithPath: scratch.file("empty.raw")))
        try scratch.makeImage("disk.raw", megabytes: 1)
        func serve(_ arguments: String...) async throws -> Command.Result {
            try await Nearblock.run(
                ["serve", "--state", scratch.file("state"), "--control", scratch.file("ctl")] + arguments)
        }
        let socket = scratch.file("nbd.sock")
        expectOneLine(try await serve(scratch.file("missing.raw"), "--socket", socket), status: 1, "No such file")
        expectOneLine(try await serve(scratch.file("empty.raw"), "--socket", socket), status: 1, "is empty")
        expectOneLine(try await serve(scratch.path, "--socket", socket), status: 1, "directory")
        let long = scratch.file(String(repeating: "x", count: 120))
        expectOneLine(try await serve(scratch.file("disk.raw"), "--socket", long), status: 1, "107 bytes")
        expectOneLine(
            try await serve(
                "--peer-listen", "0.0.0.0:7777", "--images", scratch.file("images"), "--socket", socket),
            status: 1, "loopback")
        #expect(!FileManager.default.fileExists(atPath: socket))

        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "disk"])
        expectOneLine(try await serve(scratch.file("disk.raw"), "--socket", socket), status: 1, "open for writing")
        try scratch.makeImage("other.raw", megabytes: 1)
        expectOneLine(
            try await serve(scratch.file("other.raw"), "--socket", "\(node.folder)/nbd.sock"), status: 1, "in use")
        #expect(try await Command.run("nbdinfo", ["--size", node.uri()]).output == "1048576\n")
        #expect(try await node.stop() == 0)
    }

    @Test("A port in use -> one line, for clients and for peers")
    func portsTaken() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let taken = "127.0.0.1:\(nodes.port)"
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let common = ["--state", scratch.file("state"), "--control", scratch.file("ctl")]
        expectOneLine(
            try await Nearblock.run(
                ["serve", scratch.file("disk.raw"), "--listen", taken] + common),
            status: 1, taken)
        expectOneLine(
            try await Nearblock.run(
                [
                    "serve", "--socket", scratch.file("s"), "--peer-listen", taken, "--images",
                    scratch.file("i"),
                ] + common),
            status: 1, taken)
    }

    @Test("Commands to a missing node, or about a missing export -> one line")
    func noNode() async throws {
        let scratch = Scratch()
        expectOneLine(
            try await Nearblock.run(["status", "--control", scratch.file("none")]), status: 1, "nearblock serve"
        )
        let nodes = try await TwoNodes(megabytes: 1)
        expectOneLine(
            try await nodes.source.ask(["migrate", "other", "--to", "127.0.0.1:1"]), status: 1, "no export 'other'")
        expectOneLine(try await nodes.source.ask(["cancel", "disk"]), status: 1, "not being migrated")
        expectOneLine(
            try await nodes.source.ask(["migrate", "disk", "--to", "127.0.0.1:1"]), status: 4, "--peer-listen")
        expectOneLine(
            try await nodes.source.ask(["migrate", "disk", "--to", "192.0.2.1:1"]), status: 1, "loopback")
        #expect(try await nodes.source.ask(["status"]).output.contains("serving"))
    }

    @Test("Index commands -> add, list, measure, remove, and report damage")
    func index() async throws {
        let scratch = Scratch()
        try scratch.makeImage("a.raw", megabytes: 2)
        let index = ["--index", scratch.file("index")]
        expectOneLine(try await Nearblock.run(["index", "list"] + index), status: 1, "index")
        #expect(try await Nearblock.run(["index", "add"] + index + [scratch.file("a.raw")]).status == 0)
        #expect(try await Nearblock.run(["index", "list"] + index).output.contains("a.raw"))
        let similarity = try await Nearblock.run(
            ["index", "similarity", scratch.file("a.raw"), "--json"] + index)
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(similarity.output.utf8)) as? [String: Any])
        #expect(Set(object.keys) == ["block", "blocks", "zero", "distinct", "found", "neighbours"])
        #expect(object["blocks"] as? Int == 512)
        #expect(object["zero"] as? Int == 171)
        #expect(object["found"] as? Int == 341)
        #expect(try await Nearblock.run(["index", "verify"] + index).status == 0)

        for file in try FileManager.default.contentsOfDirectory(atPath: scratch.file("index"))
        where file != "index.json" && !file.contains("lock") {
            truncate(scratch.file("index/\(file)"), 300)
        }
        let damaged = try await Nearblock.run(["index", "verify"] + index)
        #expect(damaged.status == 1)
        #expect(damaged.errors.contains(scratch.file("index")))
        #expect(try await Nearblock.run(["index", "remove"] + index + [scratch.file("a.raw")]).status == 0)
        expectOneLine(
            try await Nearblock.run(["index", "add"] + index + [scratch.file("missing.raw")]), status: 1,
            "missing.raw")
    }
}
