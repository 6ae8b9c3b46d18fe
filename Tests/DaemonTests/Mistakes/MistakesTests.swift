import Foundation
import TestSupport
import Testing

/// Mistakes of somebody who reads docs/guide.md for the first time. Each is answered by one line that says what is wrong, where,
/// and what to do.
@Suite("Mistakes on purpose", .timeLimit(.minutes(10)))
struct MistakesTests {
    private let scratch = Scratch()

    /// Makes images, certificates and files with which something is wrong.
    private func prepare() async throws {
        try scratch.makeImage("disk.raw", megabytes: 1)
        try scratch.makeImage("other.raw", megabytes: 1)
        _ = try scratch.write([], to: "empty.raw")
        _ = try scratch.write(Array("x".utf8), to: "file")
        for name in ["folder", "tls"] {
            try FileManager.default.createDirectory(atPath: scratch.file(name), withIntermediateDirectories: true)
        }
    }

    private var places: [String] {
        ["--state", scratch.file("state"), "--control", scratch.file("control")]
    }

    @Test(
        "serve -> one line",
        arguments: [
            Mistake("no image there", "serve %/none.raw --socket %/s", "%/none.raw", "No such file", "check the path"),
            Mistake("a directory", "serve %/folder --socket %/s", "%/folder", "directory", "give a file"),
            Mistake("a device of characters", "serve /dev/null --socket %/s", "/dev/null", "give a file or a block"),
            Mistake("an empty image", "serve %/empty.raw --socket %/s", "%/empty.raw is empty", "truncate"),
            Mistake("two images", "serve %/disk.raw %/other.raw --socket %/s", "Unexpected argument '%/other.raw'"),
            Mistake("no image", "serve --read-only", "nothing to serve", "--peer-listen"),
            Mistake("an unknown option", "serve --sokcet %/s %/disk.raw", "'--sokcet'", "did you mean '--socket'"),
            Mistake("a port beyond all", "serve --listen 127.0.0.1:99999 %/disk.raw", "127.0.0.1:99999", "HOST:PORT"),
            Mistake(
                "an address of another machine", "serve --listen 192.0.2.7:10999 %/disk.raw", "192.0.2.7:10999",
                "choose an address of this machine"),
            Mistake(
                "an unknown host", "serve --listen no.invalid:10999 %/disk.raw", "no.invalid:10999",
                "choose an address of this machine"),
            Mistake(
                "a folder that is not there", "serve --socket %/no/s %/disk.raw", "%/no/s", "make the directory"),
            Mistake("a file as the socket", "serve --socket %/file %/disk.raw", "%/file", "choose another path"),
            Mistake(
                "a path too long",
                "serve --socket %/\(String(repeating: "x", count: 120)) %/disk.raw", "107 bytes", "choose a shorter"),
            Mistake(
                "a file as the images", "serve --peer-listen 127.0.0.1:0 --images %/file", "%/file", "no directory"),
            Mistake(
                "a destination without a place", "serve --peer-listen 127.0.0.1:0", "--images DIR"),
            Mistake(
                "peers without certificates", "serve --peer-listen 0.0.0.0:7999 --images %/i", "0.0.0.0:7999",
                "--peer-tls DIR"),
            Mistake(
                "certificates that are not there", "serve --listen 127.0.0.1:0 --tls %/tls %/disk.raw", "%/tls",
                "put one there"),
            Mistake("TLS without certificates", "serve --tls-mode required %/disk.raw", "needs --tls DIR"),
            Mistake("an unknown format", "serve --format qcow %/disk.raw", "'qcow'", "there are raw, auto, qcow2"),
            Mistake("an unknown group", "serve --socket %/s --socket-group no-such %/disk.raw", "'no-such'", "getent"),
            Mistake("mode 999", "serve --socket %/s --socket-mode 999 %/disk.raw", "'999'", "as in 0640"),
            Mistake("metrics without a port", "serve --metrics localhost %/disk.raw", "'localhost'", "HOST:PORT"),
            Mistake(
                "another server that is not there", "serve --socket %/s nbd+unix:///x?socket=%/none", "%/none",
                "No such file"),
            Mistake("no configuration", "serve --config %/none.conf", "%/none.conf", "give a configuration file"),
            Mistake("a directory as configuration", "serve --config %/folder", "%/folder", "give a configuration"),
        ])
    func serving(_ mistake: Mistake) async throws {
        try await prepare()
        try await mistake.check(in: scratch.path, places)
    }

    @Test(
        "A configuration -> one line with its number",
        arguments: [
            ("[node]\nsokcet = /s\n", ":2: [node] sokcet is unknown", "did you mean 'socket'?"),
            ("[nodes]\nsocket = /s\n", ":1: [nodes] is unknown", "did you mean [node]?"),
            ("[export]\nimage = /x\n", ":1: [export] is unknown", "[export NAME]"),
            ("[node]\nsocket: /s\n", ":2: 'socket: /s' is no line", "KEY = VALUE"),
            ("socket = /s\n", ":1: socket stands before the first section", "begin with a line [node]"),
            ("[node]\nsocket = /s\nsocket = /t\n", ":3: [node] socket is on line 2 and again", "keep one"),
            ("[export a]\nimage = /x\n[export a]\nimage = /y\n", ":3: [export a] is on line 1 and again", "keep one"),
            ("[export a]\nread-only = yes\n", "[export a]", "true or false"),
            ("[export a]\n", ":1: [export a] has no image", "add image = PATH"),
            ("[node]\nsocket = \"/s\"\n[export a]\nimage = /x\n", ":2: [node] socket", "leave them out"),
            ("[export a]\nimage = '/x'\n", ":2: [export a] image", "leave them out"),
            ("[node]\nkeep-index = often\nindex = /i\n", ":2: [node] keep-index", "10m"),
        ])
    func configuration(text: String, place: String, remedy: String) async throws {
        let path = try scratch.write(Array(text.utf8), to: "n.conf")
        for words in [["serve", "--config", path] + places, ["check", "--offline", path]] {
            let result = try await Nearblock.run(words)
            let said = result.errors + result.output
            #expect(result.status == 1, "\(said)")
            #expect(said.contains(place), "\(said)")
            #expect(said.contains(remedy), "\(said)")
        }
        let served = try await Nearblock.run(["serve", "--config", path] + places)
        #expect(served.errors.filter { $0 == "\n" }.count == 1, "\(served.errors)")
    }

    @Test(
        "Tabs, line ends and a byte order mark of another system -> taken as they are meant",
        arguments: ["\tsocket = S\n", "socket = S\r\n", "\u{feff}"])
    func foreignEditors(_ line: String) async throws {
        try await prepare()
        let socket = line.replacing("S", with: scratch.file("s"))
        let node = line == "\u{feff}" ? "\u{feff}[node]\nsocket = \(scratch.file("s"))\n" : "[node]\n\(socket)"
        let text = "\(node)[export disk]\nimage = \(scratch.file("disk.raw"))\n"
        let path = try scratch.write(Array(text.utf8), to: "n.conf")
        let checked = try await Nearblock.run(["check", path])
        #expect(checked.status == 0 && !checked.output.contains("warning"), "\(checked)")
        let running = try await NodeProcess(scratch.file("node"), ["--config", path], hasSocket: false)
        #expect(
            try await Command.run("nbdinfo", ["--size", "nbd+unix:///disk?socket=\(scratch.file("s"))"]).status == 0)
        #expect(try await running.stop() == 0)
    }

    @Test("A comment behind a value -> a warning of check with its line")
    func comment() async throws {
        try await prepare()
        let text = "[node]\nsocket = \(scratch.file("s")) # for QEMU\n[export a]\nimage = \(scratch.file("disk.raw"))\n"
        let path = try scratch.write(Array(text.utf8), to: "n.conf")
        let result = try await Nearblock.run(["check", path])
        #expect(result.status == 0 && result.output.contains(":2: warning: [node] socket"), "\(result)")
        #expect(result.output.contains("move a comment to a line of its own"), "\(result)")
    }

    @Test(
        "Another user's files and sockets -> the line names the user and what to change", .enabled(if: geteuid() == 0))
    func permissions() async throws {
        try await prepare()
        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "disk"])
        chmod(scratch.path, 0o755)
        chmod(scratch.file("other.raw"), 0o644)
        func asNobody(_ words: [String]) async throws -> String {
            let user = ["--reuid=65534", "--regid=65534", "--clear-groups", Nearblock.path]
            let result = try await Command.run("setpriv", user + words)
            #expect(result.status == 1, "\(result)")
            return result.errors
        }
        let denied = try await asNobody(["status", "--control", node.control])
        #expect(
            denied.contains(node.control) && denied.contains("user 65534") && denied.contains("as root"), "\(denied)")
        let state = scratch.file("of-nobody")
        let noState = try await asNobody(["serve", scratch.file("other.raw"), "--socket", state, "--state", state])
        #expect(noState.contains(state) && noState.contains("user 65534"), "\(noState)")
        mkdir(state, 0o777)
        chown(state, 65534, 65534)
        let places = ["--state", "\(state)/state", "--control", "\(state)/c", "--socket", "\(state)/s"]
        let image = try await asNobody(["serve", scratch.file("other.raw")] + places)
        #expect(image.contains("other.raw: Permission denied") && image.contains("mode or owner"), "\(image)")
        #expect(try await node.stop() == 0)
    }
}
