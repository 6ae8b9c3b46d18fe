import Foundation
import TestSupport
import Testing

/// Rates, sizes and times as people write them, and the errors for invalid ones.
@Suite("Values on the command line", .timeLimit(.minutes(10)))
struct ValueTests {
    private static let migrate = ["migrate", "disk", "--to", "127.0.0.1:1", "--control", "/nonexistent/control"]

    private func expectUsage(_ result: Command.Result, _ parts: String...) {
        #expect(result.status == 2, "\(result)")
        #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        for part in parts { #expect(result.errors.contains(part), "\(part): \(result)") }
    }

    @Test(
        "An invalid rate -> the error lists valid forms and a suggestion",
        arguments: [
            ("fast", "100M"), ("1.5M", "give 1500K"), ("10MB/s", "give 80M"), ("10MiB/s", "give 83886080"),
            ("10Mbit/s", "give 10M"), ("10Mbps", "give 10M"), ("10Mb", "give 10M"), ("1T", "give 1000G"),
            ("10 M", "give 10M"), ("0", "a rate of 0"), ("0M", "a rate of 0"), ("1e400", "100M"), ("nan", "100M"),
            ("18446744073709551615G", "faster than any link"), ("99999999999999999999", "faster than any link"),
            ("99999999999999999999.5M", "100M"), ("1..5M", "100M"), (".", "100M"), ("M", "100M"),
        ])
    func rates(_ text: String, _ part: String) async throws {
        let forms = "a rate is a whole number of bits a second"
        expectUsage(try await Nearblock.run(Self.migrate + ["--rate=\(text)"]), "--rate", forms, part)
        expectUsage(
            try await Nearblock.run(["rate", "disk", text, "--control", "/nonexistent/control"]), forms, part)
    }

    @Test(
        "An invalid size -> the error lists valid forms and a suggestion",
        arguments: [
            ("5X", "as in 4M"), ("1.5G", "give 1536M"), ("4MB", "give 4M"), ("4MiB", "give 4M"), ("4MB/s", "as in 4M"),
            ("-1", "as in 4M"), ("16777216T", "larger than any disk"), ("18446744073709551616", "larger than any disk"),
            ("1e3", "as in 4M"), ("infinity", "as in 4M"),
        ])
    func sizes(_ text: String, _ part: String) async throws {
        let forms = "a size is a whole number of bytes"
        expectUsage(try await Nearblock.run(Self.migrate + ["--dirty-threshold=\(text)"]), forms, part)
        expectUsage(
            try await Nearblock.run(["index", "add", "--index", "/nonexistent/i", "--block-size=\(text)", "x"]), forms,
            part)
    }

    @Test(
        "An invalid time -> the error lists valid forms and a suggestion",
        arguments: [
            ("5", "give 5s or 5ms"), ("5 s", "give 5s"), ("5min", "give 5m"), ("5sec", "give 5s"), ("2d", "give 48h"),
            ("5S", "give 5s"), ("1e400s", "200ms"), ("nans", "200ms"), ("infs", "200ms"), ("0x10s", "200ms"),
            ("-5s", "200ms"), ("99999999999999999999h", "30 years"), ("18446744073709551615s", "30 years"),
            ("s", "200ms"),
        ])
    func times(_ text: String, _ part: String) async throws {
        let forms = "a time is a number with ms, s, m or h"
        expectUsage(try await Nearblock.run(Self.migrate + ["--max-pause=\(text)"]), forms, part)
        expectUsage(
            try await Nearblock.run(["serve", "x", "--index", "/nonexistent/i", "--keep-index=\(text)"]), forms, part)
    }

    @Test("Valid values -> accepted", arguments: ["1", "100M", "100m", "1G", "18446744073709551614"])
    func validRates(_ text: String) async throws {
        // The command fails only later, because there is no node.
        let result = try await Nearblock.run(Self.migrate + ["--rate", text, "--max-pause", "0.5s"])
        #expect(result.status == 1 && result.errors.contains("/nonexistent/control"), "\(result)")
    }

    @Test("Minutes and hours -> accepted; the node limits the downtime")
    func minutesAndHours() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let tooLong = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--max-pause", "2h",
        ])
        #expect(tooLong.status == 1 && tooLong.errors.contains("a downtime of 7200.0 s"), "\(tooLong)")
        // With the highest rate, the requested rate can't be derived from the granted one.
        let moved = try await nodes.migrate(["--max-pause", "10m", "--rate", "18446744073709551614"])
        #expect(moved.status == 0, "\(moved)")
        #expect(try nodes.destinationImage == nodes.sourceImage)
    }

    @Test("Absurd rates on the control socket -> the node survives")
    func controlSocket() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let script = """
            import json, socket
            def ask(text):
                s = socket.socket(socket.AF_UNIX)
                s.settimeout(30)
                s.connect('\(nodes.source.control)')
                s.sendall(text.encode() + b"\\n")
                line = s.makefile().readline()
                return next(iter(json.loads(line))) if line else "nothing"
            move = '{"%s":{"_0":{"exports":["disk"],"destination":{"host":"127.0.0.1","port":\(nodes.port)},' \\
                '"switchover":"converged","detach":false,"domains":[],%s}}}'
            for part in ['"rate":0', '"rate":-1', '"rate":1e400', '"rate":1.5', '"maximumPause":-1', '"maximumPause":1e308',
                         '"maximumPause":"nan"', '"maximumRounds":0', '"maximumRounds":99999999999999999999',
                         '"dirtyThreshold":-1', '"rate":18446744073709551616']:
                print(ask(move % ("migrate", part)))
            print(ask('{"rate":{"export":"disk","bitsPerSecond":0}}'))
            print(ask(move % ("estimate", '"rate":18446744073709551615,"maximumRounds":9223372036854775807')))
            print(ask(move % ("migrate", '"rate":18446744073709551615,"dirtyThreshold":18446744073709551615')))
            """
        let result = try await Command.run("python3", "-c", script)
        let answers = result.output.split(separator: "\n").map(String.init)
        #expect(answers.dropLast(2).allSatisfy { $0 == "failed" } && answers.count == 14, "\(result)")
        #expect(answers.suffix(2).contains("failed") == false, "\(result)")
        #expect(try await nodes.source.stop() == 0)
    }

    @Test("Times in a configuration file -> the same forms")
    func configuration() async throws {
        let scratch = Scratch()
        let image = try scratch.hole(1 << 20, "disk.raw")
        func serve(_ time: String) async throws -> Command.Result {
            let text = """
                [node]
                index = \(scratch.file("index"))
                keep-index = \(time)
                [export disk]
                image = \(image)
                """
            let path = try scratch.write(Array(text.utf8), to: "n.conf")
            return try await Nearblock.run([
                "serve", "--config", path, "--run", "true", "--state", scratch.file("state"), "--control",
                scratch.file("control"),
            ])
        }
        for time in ["10m", "1h", "600s", "500ms"] { #expect(try await serve(time).status == 0) }
        for (time, part) in [("5", "give 5s"), ("0s", "more than 0"), ("1e400s", "200ms"), ("nans", "200ms")] {
            let result = try await serve(time)
            #expect(result.status == 1 && result.errors.contains("[node] keep-index"), "\(result)")
            #expect(result.errors.contains(part) && result.errors.contains("a time is"), "\(result)")
            #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        }
    }
}
