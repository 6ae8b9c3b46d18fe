import Foundation
import TestSupport
import Testing

/// `nearblock cancel` at the destination.
@Suite("Cancel at the destination", .timeLimit(.minutes(10)))
struct CancelArrivalTests {
    private let scratch = Scratch()
    private let images: String

    init() {
        images = scratch.file("images")
    }

    private func nodes(megabytes: Int = 8) async throws -> (source: NodeProcess, destination: NodeProcess, to: String) {
        let port = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: megabytes)
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", images])
        let source = try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"])
        return (source, destination, "127.0.0.1:\(port)")
    }

    /// Checks that no trace of a cancelled disk remains at either node.
    private func expectNothing(_ source: NodeProcess, _ destination: NodeProcess, to: String) async throws {
        try await waitUntil("nothing is left") { try FileManager.default.contentsOfDirectory(atPath: images).isEmpty }
        try await waitUntil("the source serves it") { try await source.exports()[0]["state"] as? String == "serving" }
        #expect(source.messages.contains("cancelled at the destination by its operator"), "\(source.messages)")
        let moved = try await source.ask(["migrate", "disk", "--to", to])
        #expect(moved.status == 0, "\(moved.errors)")
    }

    @Test("Cancel while copying -> both nodes drop the migration, the source says why, and it can start again")
    func copying() async throws {
        let (source, destination, to) = try await nodes()
        #expect(try await source.ask(["migrate", "disk", "--to", to, "--rate", "2M", "--detach"]).status == 0)
        try await waitUntil("it copies") { try await source.ask(["status"]).output.contains("copying") }
        try await waitUntil("it arrives") { destination.messages.contains("disk is arriving") }
        let cancelled = try await destination.ask(["cancel", "disk"])
        #expect(cancelled.status == 0, "\(cancelled.errors)")
        try await expectNothing(source, destination, to: to)
    }

    @Test(
        "Cancel before the switchover, with clients at the destination -> cancelled",
        arguments: ["manual", "first-write"])
    func waiting(switchover: String) async throws {
        let (source, destination, to) = try await nodes(megabytes: 2)
        #expect(try await source.ask(["migrate", "disk", "--to", to, "--switch", switchover, "--detach"]).status == 0)
        try await waitUntil("it waits") { try await source.ask(["status"]).output.contains("waiting") }
        let cancelled = try await destination.ask(["cancel", "disk"])
        #expect(cancelled.status == 0, "\(cancelled.errors)")
        #expect(try await destination.exports().isEmpty)
        try await expectNothing(source, destination, to: to)
    }

    @Test("Cancel after the offer alone -> cancelled")
    func offered() async throws {
        let (source, destination, to) = try await nodes(megabytes: 2)
        let script =
            HostilePeerScript.library + """
                link, migration = bring('other', 1 << 20, '127.0.0.1')
                open(sys.argv[2], 'w').close()
                said = answer(link)
                assert said[0] == 37 and b'cancelled at the destination' in said, said
                link.settimeout(60)
                try:
                    while link.recv(4096): pass
                except ConnectionResetError: pass
                """
        let file = try scratch.write(Array(script.utf8), to: "offer.py")
        async let offering = Command.run("python3", file, String(to.split(separator: ":")[1]), scratch.file("ready"))
        try await waitUntil("it is offered") { FileManager.default.fileExists(atPath: scratch.file("ready")) }
        let cancelled = try await destination.ask(["cancel", "other"])
        #expect(cancelled.status == 0, "\(cancelled.errors)")
        let result = try await offering
        #expect(result.status == 0, "\(result)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: images).isEmpty)
        #expect(try await source.ask(["migrate", "disk", "--to", to]).status == 0)
    }

    /// Sends a prepared disk, and nothing else of it.
    private static let prepared = """
        link, migration = bring('other', 1 << 20, '127.0.0.1')
        link.sendall(frame(b'\\x40\\x03'))
        while answer(link)[0] != 35: pass
        open(sys.argv[2], 'w').close()
        said = answer(link)
        assert said[0] == 37 and b'cancelled at the destination' in said, said

        """

    /// Cancels a disk that a source has prepared; the source then does `rest`.
    private func cancelPrepared(
        _ rest: String, _ body: (_ destination: NodeProcess, Command.Result) async throws -> Void
    ) async throws {
        let (source, destination, to) = try await nodes(megabytes: 2)
        let script = HostilePeerScript.library + Self.prepared + rest
        let file = try scratch.write(Array(script.utf8), to: "prepare.py")
        let process = try ChildProcess(
            "/usr/bin/python3", [file, String(to.split(separator: ":")[1]), scratch.file("ready")])
        defer { process.signal(SIGKILL) }
        try await waitUntil("it is prepared") { FileManager.default.fileExists(atPath: scratch.file("ready")) }
        try await body(destination, try await destination.ask(["cancel", "other"]))
        #expect(try await source.ask(["migrate", "disk", "--to", to]).status == 0)
    }

    @Test("Cancel of a prepared disk, source silent -> refused, and the answer says where to cancel")
    func preparedAndSilent() async throws {
        try await cancelPrepared("time.sleep(600)") { (_, cancelled) async throws -> Void in
            #expect(cancelled.status == 1)
            #expect(cancelled.errors.contains("cancel it there"), "\(cancelled.errors)")
            #expect(cancelled.errors.filter { $0 == "\n" }.count == 1)
            #expect(try !FileManager.default.contentsOfDirectory(atPath: images).isEmpty)
        }
    }

    @Test("Cancel of a prepared disk that its source keeps -> cancelled")
    func preparedAndKept() async throws {
        let keeping = "link.sendall(frame(b'\\x17' + text('kept')))\ntime.sleep(600)"
        try await cancelPrepared(keeping) { (_, cancelled) async throws -> Void in
            #expect(cancelled.status == 0, "\(cancelled.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: images).isEmpty)
        }
    }

    @Test("Cancel after the switchover -> refused at both nodes, with the reason")
    func handedOver() async throws {
        let (source, destination, to) = try await nodes(megabytes: 2)
        #expect(try await source.ask(["migrate", "disk", "--to", to]).status == 0)
        let cancelled = try await destination.ask(["cancel", "disk"])
        #expect(cancelled.status == 1)
        #expect(cancelled.errors.contains("has been switched over to this node"), "\(cancelled.errors)")
        #expect(cancelled.errors.filter { $0 == "\n" }.count == 1)
        let unknown = try await destination.ask(["cancel", "nothing"])
        #expect(unknown.status == 1)
        #expect(unknown.errors.contains("there is no export 'nothing'"), "\(unknown.errors)")
    }
}
