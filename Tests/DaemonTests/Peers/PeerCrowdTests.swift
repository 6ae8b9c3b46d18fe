import Foundation
import TestSupport
import Testing

/// Idle peers that occupy places must not keep others out.
@Suite("Peers that take places", .timeLimit(.minutes(10)))
struct PeerCrowdTests {
    private let scratch = Scratch()

    /// Runs `attack` against a node; `disk` moves there all the same.
    private func expectMigration(during attack: String) async throws {
        try await during(attack) { source, _, port in
            let moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
            #expect(moved.status == 0, "\(moved.errors)")
        }
    }

    /// Runs `attack` against a node while the body uses a source that may migrate `disk` there.
    private func during(
        _ attack: String, limit: Int? = nil,
        _ body: (_ source: NodeProcess, _ destination: NodeProcess, _ port: UInt16) async throws -> Void
    ) async throws {
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        if let limit {
            let table = "--nofile=\(limit):\(limit)"
            let lowered = try await Command.run("prlimit", "--pid", "\(destination.processIdentifier)", table)
            guard lowered.status == 0 else { throw NodeProcess.Failure(reason: "\(lowered)") }
        }
        try scratch.makeImage("disk.raw", megabytes: 2)
        let source = try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"])
        let ready = scratch.file("ready")
        let script = HostilePeerScript.library + attack + "\nopen(sys.argv[2], 'w').close()\ntime.sleep(600)\n"
        let log = try scratch.write([], to: "attack.log")
        let attacker = try ChildProcess(
            "/usr/bin/python3",
            [
                try scratch.write(Array(script.utf8), to: "attack.py"), "\(port)", ready,
                "\(destination.folder)/nbd.sock",
            ],
            errors: log)
        defer { attacker.signal(SIGKILL) }
        try await waitUntil("the places are taken") {
            guard attacker.isRunning else {
                let said = try String(contentsOfFile: log, encoding: .utf8)
                throw NodeProcess.Failure(reason: said)
            }
            return FileManager.default.fileExists(atPath: ready)
        }
        try await body(source, destination, port)
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }

    @Test("255 silent connections of one migration -> other connections are accepted, also from that peer")
    func silentForwarders() async throws {
        let attack = """
            brought, migration = bring('hostile', 1 << 20, '127.0.0.1')
            crowd = []
            for _ in range(255):
                link = connect('127.0.0.1')
                link.sendall(hello(FORWARD, migration))
                try: answer(link)
                except (EOFError, OSError): pass
                crowd.append(link)
            """
        try await expectMigration(during: attack)
    }

    @Test("Sixteen silent offers -> other peers are accepted; the offering peer waits")
    func silentOffers() async throws {
        let attack = "brought = [bring(f'hostile{number}', 1 << 20, '127.0.0.2') for number in range(16)]"
        try await expectMigration(during: attack)
    }

    @Test("Sixteen silent offers of one peer -> its other disks take their places")
    func silentOffersOfTheSamePeer() async throws {
        let attack = "brought = [bring(f'hostile{number}', 1 << 20, '127.0.0.1') for number in range(16)]"
        try await during(attack) { source, _, port in
            let limit = Date(timeIntervalSinceNow: 120)
            var moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
            while moved.status != 0, Date() < limit {
                #expect(moved.errors.contains("arriving"), "\(moved.errors)")
                try await Task.sleep(for: .seconds(1))
                moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
            }
            #expect(moved.status == 0, "\(moved.errors)")
        }
    }

    @Test("NBD clients use all their descriptors -> commands and migrations still work")
    func descriptorsFullOfClients() async throws {
        let attack = """
            import glob
            resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            crowd = []
            for _ in range(1000):
                link = socket.socket(socket.AF_UNIX)
                link.settimeout(20)
                link.connect(sys.argv[3])
                crowd.append(link)
            # Each has been let in, or turned away, by the time that the last has been.
            for link in crowd:
                try: link.recv(16)
                except OSError: pass
            """
        try await during(attack, limit: 300) { source, destination, port in
            let used = try FileManager.default.contentsOfDirectory(
                atPath: "/proc/\(destination.processIdentifier)/fd"
            ).count
            #expect(used > 120, "only \(used) descriptors are in use")
            let status = try await destination.ask(["status"])
            #expect(status.status == 0, "\(status)")
            let moved = try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)", "--switch", "now"])
            #expect(moved.status == 0, "\(moved.errors)")
        }
    }
}
