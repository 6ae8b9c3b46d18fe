import Foundation
import TestSupport
import Testing

/// The commands of docs/manual.md that move a Xen domain's memory, with a program in the place of xl at each side.
@Suite("The memory of a domain by socat", .enabled(if: access("/usr/bin/socat", X_OK) == 0), .timeLimit(.minutes(2)))
struct XLCommandTests {
    /// Talks as `xl migrate -s ''` and `xl migrate-receive` do: the first runs a command of the shell between two pipes.
    private static let xl = """
        import subprocess, sys

        banner = b"xl migration receiver ready, send binary domain data.\\n"
        ready, go = b"domain received, ready to unpause\\0", b"domain is yours, you are cleared to unpause\\0"
        report = b"my copy unpause results are as follows\\0"

        def expect(file, words):
            came = file.read(len(words))
            if came != words:
                sys.exit(f"{came[:80]} instead of {words[:80]}")

        role, stream = sys.argv[1], open(sys.argv[2], "rb").read()
        if role == "migrate":
            child = subprocess.Popen(sys.argv[3], shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            expect(child.stdout, banner)
            child.stdin.write(stream)
            child.stdin.flush()
            expect(child.stdout, ready)
            child.stdin.write(go)
            child.stdin.flush()
            expect(child.stdout, report + b"\\0")
        else:
            def say(words):
                sys.stdout.buffer.write(words)
                sys.stdout.buffer.flush()

            say(banner)
            expect(sys.stdin.buffer, stream)
            say(ready)
            expect(sys.stdin.buffer, go)
            say(report + b"\\0")
        """

    @Test("The two talk over socat and two nodes -> both succeed, and so does the node")
    func whole() async throws {
        var random = Seeded.fresh()
        let scratch = Scratch()
        let xl = try scratch.write(Array(Self.xl.utf8), to: "xl.py")
        let stream = try scratch.write(random.bytes(3 << 20), to: "stream")
        let (folder, socket, port) = (scratch.file("memory"), scratch.file("web.mem"), try FreePort.find())
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        let destination = try await NodeProcess(
            scratch.file("d"),
            ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("d/images"), "--memory-dir", folder])
        try scratch.makeImage("disk.raw", megabytes: 1)
        let source = try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw")])
        let receiver = try ChildProcess(
            "/usr/bin/socat",
            ["UNIX-LISTEN:\(folder)/web.sock,mode=600", "EXEC:/usr/bin/python3 \(xl) migrate-receive \(stream)"])
        async let moved = source.ask([
            "memory", "--to", "127.0.0.1:\(port)", "--memory", socket, "--memory-name", "web", "--json",
        ])
        try await waitUntil("both sides listen") {
            [socket, "\(folder)/web.sock"].allSatisfy { UnixAddress.isListening(at: $0) }
        }
        let sender = try ChildProcess(
            "/usr/bin/python3", [xl, "migrate", stream, "exec socat - UNIX-CONNECT:\(socket)"],
            errors: try scratch.write([], to: "errors"))
        let statuses = try await onThread { (sender.waitUntilExit(), receiver.waitUntilExit()) }
        let errors = String(decoding: try scratch.contents("errors"), as: UTF8.self)
        #expect(statuses.0 == 0, "\(errors)")
        #expect(statuses.1 == 0)
        let result = try await moved
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains(#""state":"ended""#), "\(result.output)")
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }
}
