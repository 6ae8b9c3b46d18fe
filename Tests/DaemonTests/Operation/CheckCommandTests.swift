import Foundation
import TestSupport
import Testing

/// `nearblock check`: mistakes that were made on purpose.
@Suite("nearblock check", .timeLimit(.minutes(5)))
struct CheckCommandTests {
    private let scratch = Scratch()

    private func check(_ text: String, _ options: String...) async throws -> Command.Result {
        let path = try scratch.write(Array(text.utf8), to: "n.conf")
        return try await Nearblock.run(["check", path] + options)
    }

    /// Lines of the result without the file's path.
    private func lines(_ result: Command.Result) -> [String] {
        result.output.split(separator: "\n").map { $0.replacingOccurrences(of: scratch.file("n.conf"), with: "FILE") }
    }

    @Test("Many mistakes in one file -> each with its line, and status 1")
    func all() async throws {
        let result = try await check(
            """
            stray = 1
            [node]
            listen = 127.0.0.1:10809;nowhere
            sokcet = /run/x
            this line is nothing
            tls-mode = sometimes
            keep-index = 10 parsecs
            insecure-peer = perhaps
            image = /images/a.raw
            [export a]
            read-only = yes
            max-connections = 0
            tls = optional
            [export b]
            image = /x
            image = /y
            [exports c]
            """, "--offline")
        #expect(result.status == 1, "\(result)")
        let expected = [
            "FILE:1: stray stands before the first section", "FILE:5: 'this line is nothing' is no line",
            "FILE:16: [export b] image is on line 15 and again on line 16",
            "FILE:4: [node] sokcet is unknown; did you mean 'socket'?",
            "FILE:9: [node] image is a key of [export NAME]",
            "FILE:3: [node] listen: 'nowhere' is not valid: it is not HOST:PORT",
            "FILE:6: [node] tls-mode: 'sometimes' is not valid: give off, optional or required",
            "FILE:6: [node] tls-mode needs tls",
            "FILE:7: [node] keep-index: '10 parsecs' is not valid: a time is a number",
            "FILE:8: [node] insecure-peer: 'perhaps' is not valid: give true or false",
            "FILE:10: [export a] has no image",
            "FILE:11: [export a] read-only: 'yes' is not valid: give true or false",
            "FILE:12: [export a] max-connections: '0' is not valid: give a whole number, 1 or more",
            "FILE:13: [export a] tls: 'optional' is not valid: give required",
            "FILE:17: [exports c] is unknown; did you mean [export c]?",
        ]
        for part in expected {
            #expect(lines(result).count(where: { $0.hasPrefix(part) }) == 1, "\(part) in \(result.output)")
        }
        #expect(lines(result).count == expected.count, "\(result.output)")
        #expect(result.errors.contains("has \(expected.count) mistakes"), "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
    }

    @Test("serve with such a file -> one line with the first mistake and the number of the others")
    func served() async throws {
        let path = try scratch.write(Array("[node]\nsokcet = x\nvsock = y\n".utf8), to: "n.conf")
        let result = try await Nearblock.run(["serve", "--config", path])
        #expect(result.status == 1 && result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        #expect(result.errors.contains("\(path):2: [node] sokcet is unknown"), "\(result)")
        #expect(result.errors.contains("(and another mistake, which nearblock check \(path) names)"), "\(result)")
    }

    @Test(
        "A misspelled key or section -> the nearest one, of another section too, or all",
        arguments: [
            ("[node]\nPeer_listen = 127.0.0.1:1\n", "Peer_listen is unknown; did you mean 'peer-listen'?"),
            ("[node]\nimgae = /x\n", "imgae is unknown; did you mean 'image', a key of [export NAME]?"),
            ("[node]\ndescripton = x\n", "descripton is unknown; did you mean 'description', a key of [export NAME]?"),
            ("[export a]\nimage = /x\nfrobnicate = 1\n", "frobnicate is unknown; there are default, description, "),
            ("[domian x]\nprepare = /bin/true\n", "[domian x] is unknown; did you mean [domain x]?"),
            ("[Node]\n", "[Node] is unknown; did you mean [node]?"),
            ("[export]\n", "[export] is unknown; did you mean [export NAME]?"),
            ("[global]\n", "[global] is unknown; sections are [node], [export NAME] and [domain NAME]"),
        ])
    func nearest(_ text: String, _ said: String) async throws {
        let result = try await check(text, "--offline")
        #expect(result.status == 1 && result.output.contains(said), "\(result)")
    }

    @Test("A file that is no text, or too long -> one line, for check and serve")
    func noText() async throws {
        let image = try scratch.hole(17 << 20, "disk.raw")
        let latin = try scratch.write(Array("[export a]\ndescription = ".utf8) + [0xe9, 0x0a], to: "latin.conf")
        for (path, said) in [
            (Nearblock.path, "than 16 MiB; give a configuration file"), ("/usr/bin/true", "line 1 has a NUL byte"),
            (image, "than 16 MiB"), (latin, "line 2 is not UTF-8; save it as UTF-8"), ("/dev/zero", "than 16 MiB"),
            (scratch.path, "Is a directory; give a configuration file"),
        ] {
            let checked = try await Nearblock.run(["check", path])
            #expect(checked.status == 1 && checked.output.split(separator: "\n").count == 1, "\(checked)")
            #expect(checked.output.contains(said), "\(checked)")
            let served = try await Nearblock.run(["serve", "--config", path])
            #expect(served.status == 1 && served.errors.split(separator: "\n").count == 1, "\(served)")
        }
    }

    @Test("A comment in another encoding -> no mistake, as before")
    func latinComment() async throws {
        let path = try scratch.write(
            [0x23, 0xe9, 0x0a] + Array("[export a]\nimage = /x\n".utf8), to: "latin.conf")
        let result = try await Nearblock.run(["check", "--offline", path])
        #expect(result.status == 0, "\(result)")
    }

    @Test("More mistakes than a screen holds -> the first 100, and the number of the others")
    func bound() async throws {
        let lines = String(repeating: "nonsense\n", count: 250)
        let result = try await check("[node]\n\(lines)", "--offline")
        let shown = result.output.split(separator: "\n")
        #expect(result.status == 1 && shown.count == 101, "\(shown.count)")
        #expect(
            shown.last?.hasSuffix("and 151 more lines; --json has them all") == true, "\(result.output.suffix(200))")
        #expect(result.errors.contains("has 250 mistakes"), "\(result.errors)")
    }

    @Test(
        "A value that GLib rejects -> its line",
        arguments: [
            ("[export a]\nimage = /x\ndescription = a\\qb\n", 3), ("[export a]\nimage = \\x\n", 2),
            ("[export a]\n\nimage = /x\ndescription = \u{1}\\\n", 4),
        ])
    func escapes(_ text: String, _ line: Int) async throws {
        let result = try await check(text, "--offline")
        #expect(result.status == 1 && result.output.contains("n.conf:\(line): [export a]"), "\(result)")
        #expect(result.output.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 }, "\(result)")
    }

    @Test("Things that the file names -> looked at, unless --offline is given")
    func files() async throws {
        let image = try scratch.hole(1 << 20, "good.raw")
        _ = try scratch.write([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3] + [UInt8](repeating: 0, count: 504), to: "q.raw")
        _ = try scratch.write([], to: "empty.raw")
        _ = try scratch.write([1], to: "file")
        try FileManager.default.createDirectory(atPath: scratch.file("open"), withIntermediateDirectories: true)
        chmod(scratch.file("open"), 0o777)
        let text = """
            [node]
            socket = \(scratch.file("file"))
            listen = no-such-host.invalid:10809
            images = \(scratch.file("file"))
            state = \(scratch.file("file/below"))
            memory-dir = \(scratch.file("open"))
            peer-listen = 127.0.0.1:7000
            tls = \(scratch.file("none"))
            peer-tls = \(scratch.file("none"))
            [export good]
            image = \(image)
            [export none]
            image = \(scratch.file("none.raw"))
            [export folder]
            image = \(scratch.path)
            [export empty]
            image = \(scratch.file("empty.raw"))
            [export format]
            image = \(scratch.file("q.raw"))
            """
        let result = try await check(text)
        #expect(result.status == 1, "\(result)")
        for part in [
            "FILE:2: [node] socket: ", "FILE:3: [node] listen: the host 'no-such-host.invalid' has no address",
            "FILE:4: [node] images: ", "FILE:5: [node] state: ", "FILE:6: [node] memory-dir: others may write",
            "FILE:8: [node] tls: ", "FILE:9: [node] peer-tls: ", "FILE:13: [export none] image: ",
            "FILE:15: [export folder] image: ", "FILE:17: [export empty] image: ",
            "FILE:19: warning: [export format] image: \(scratch.file("q.raw")) is a qcow2 image",
        ] {
            #expect(lines(result).count(where: { $0.hasPrefix(part) }) == 1, "\(part) in \(result.output)")
        }
        #expect(lines(result).count == 11, "\(result.output)")
        let offline = try await check(text, "--offline")
        #expect(offline.status == 0 && lines(offline) == ["FILE: no mistakes, 5 exports"], "\(offline)")
    }

    @Test("A node without rights on an image -> a mistake", .enabled(if: geteuid() == 0))
    func rights() async throws {
        let image = try scratch.hole(1 << 20, "secret.raw")
        chmod(scratch.path, 0o755)
        chmod(image, 0o444)
        let path = try scratch.write(Array("[export a]\nimage = \(image)\n".utf8), to: "n.conf")
        let result = try await Command.run(
            "setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", Nearblock.path, "check", path])
        #expect(
            result.status == 1 && result.output.contains(":2: [export a] image: \(image) can't be read and written"),
            "\(result)")
    }

    @Test("Keys that need others -> warnings, since options may have them; contradictions -> mistakes")
    func together() async throws {
        let warned = try await check(
            "[node]\nkeep-index = 10m\npeer-listen = 10.0.0.1:7000\nlisten = 0.0.0.0:10809\n[export a]\nimage = /x\n",
            "--offline")
        #expect(warned.status == 0, "\(warned)")
        for part in [
            "FILE:2: warning: [node] keep-index needs index", "FILE:3: warning: [node] peer-listen needs images",
            "FILE:3: warning: [node] peer-listen: without TLS",
            "FILE:4: warning: [node] listen: anyone who reaches 0.0.0.0:10809 can read and write disks",
        ] {
            #expect(lines(warned).contains { $0.hasPrefix(part) }, "\(part) in \(warned.output)")
        }
        let wrong = try await check(
            """
            [node]
            tls-mode = required
            insecure-peer = true
            peer-tls = /x
            [export a]
            image = /x
            default = true
            [export b]
            image = /x
            default = true
            tls = required
            """, "--offline")
        #expect(wrong.status == 1, "\(wrong)")
        for part in [
            "FILE:2: [node] tls-mode needs tls", "FILE:3: [node] insecure-peer excludes peer-tls",
            "FILE:10: [export b] default: another export is the default", "FILE:1: [node] b requires TLS",
        ] {
            #expect(lines(wrong).contains { $0.hasPrefix(part) }, "\(part) in \(wrong.output)")
        }
    }

    @Test("--json -> mistakes and warnings; no such file -> one mistake")
    func json() async throws {
        let result = try await check("[node]\nvsock = x\nkeep-index = 1m\n", "--offline", "--json")
        let answer = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any], "\(result)")
        #expect(
            (answer["mistakes"] as? [String])?.count == 1 && (answer["warnings"] as? [String])?.count == 2, "\(result)")
        let none = try await Nearblock.run(["check", scratch.file("missing.conf")])
        #expect(none.status == 1 && none.output.contains("missing.conf: cannot be read"), "\(none)")
    }
}
