import Foundation
import TestSupport
import Testing

/// Mistakes in commands to nodes that run.
@Suite("Mistakes on purpose, with nodes", .timeLimit(.minutes(10)))
struct NodeMistakesTests {
    @Test("Commands to a node -> one line each")
    func commands() async throws {
        let nodes = try await TwoNodes(megabytes: 1, sourceTakesDisks: true)
        let mistakes = [
            Mistake("a disk that is not there", "migrate dsik --to 127.0.0.1:1", "'dsik'", "did you mean 'disk'"),
            Mistake("no port", "migrate disk --to 127.0.0.1", "'127.0.0.1'", "host:port"),
            Mistake("rate fast", "migrate disk --to 127.0.0.1:1 --rate fast", "'fast'", "as in 100M"),
            Mistake("a time without unit", "migrate disk --to 127.0.0.1:1 --max-pause 5", "'5'", "give 5s or 5ms"),
            Mistake(
                "nobody there", "migrate disk --to 127.0.0.1:1", "127.0.0.1:1: Connection refused", "--peer-listen"),
            Mistake("no TLS", "migrate disk --to 192.0.2.1:7000", "192.0.2.1:7000", "--peer-tls DIR"),
            Mistake(
                "this node itself", "migrate disk --to 127.0.0.1:\(nodes.sourcePort)", "of this node",
                "give --to that of the other node"),
            Mistake(
                "this node by a name", "migrate disk --to localhost:\(nodes.sourcePort)", "leads back to this node",
                "give --to that of the other node"),
            Mistake(
                "this node by a name, of a trial", "migrate disk --to localhost:\(nodes.sourcePort) --dry-run",
                "leads back to this node", "give --to"),
            Mistake("cancel of nothing", "cancel disk", "disk is not being migrated", "nearblock status"),
            Mistake("cancel of an unknown disk", "cancel nothing", "'nothing'", "this node has 'disk'"),
            Mistake("switch of nothing", "switch disk", "disk is not being migrated", "nearblock status"),
            Mistake("rate of nothing", "rate disk 5M", "disk is not being migrated", "nearblock status"),
            Mistake("wait for an unknown disk", "wait nothing", "'nothing'", "this node has 'disk'"),
            Mistake("a smaller disk", "resize disk 4096", "disk has 1048576 bytes", "give more"),
            Mistake("a size big", "resize disk big", "'big'", "as in 4M"),
            Mistake("no bitmap", "checkpoint disk", "disk has no dirty bitmap", "--dirty-bitmap NAME"),
            Mistake("an unknown arrival", "export adopt nothing", "'nothing'", "nearblock export list"),
            Mistake("an unknown command", "migarte disk", "'migarte'", "did you mean 'migrate'"),
        ]
        for mistake in mistakes {
            // The parser ends before it reads where the node is.
            try await mistake.check(in: nodes.scratch.path, ["--control", nodes.source.control])
        }
        try await Mistake("no node", "status --control %/none", "%/none", "is nearblock serve running")
            .check(in: nodes.scratch.path)
        try await Mistake("no index", "index list --index %/none", "%/none holds no index", "index add --index %/none")
            .check(in: nodes.scratch.path)
        try await Mistake("index of nothing", "index add --index %/i %/none", "%/none", "check the path")
            .check(in: nodes.scratch.path)
    }

    @Test("A second node at the places of the first -> one line that names what it has to have of its own")
    func twice() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let (scratch, first) = (nodes.scratch, nodes.source.folder)
        try scratch.makeImage("other.raw", megabytes: 1)
        let own = ["--state", scratch.file("2/state"), "--control", scratch.file("2/control")]
        let mistakes = [
            (
                Mistake(
                    "the image", "serve %/disk.raw --socket %/nbd", "%/disk.raw is open for writing", "--read-only"),
                own
            ),
            (
                Mistake("the state", "serve %/other.raw --socket %/nbd", "\(first)/state", "--state DIR"),
                ["--state", "\(first)/state", "--control", scratch.file("2/control")]
            ),
            (
                Mistake(
                    "the control socket", "serve %/other.raw --socket %/nbd", nodes.source.control, "--control PATH"),
                ["--state", scratch.file("2/state"), "--control", nodes.source.control]
            ),
            (
                Mistake("the socket", "serve %/other.raw --socket \(first)/nbd.sock", "nbd.sock", "choose another"),
                own
            ),
            (
                Mistake(
                    "the port", "serve %/other.raw --listen 127.0.0.1:\(nodes.port)", "\(nodes.port)", "choose another"),
                own
            ),
            (
                Mistake(
                    "the metrics", "serve %/other.raw --socket %/nbd --metrics \(nodes.port)", "\(nodes.port)", "choose"
                ),
                own
            ),
        ]
        for (mistake, places) in mistakes { try await mistake.check(in: scratch.path, places) }
    }

    @Test("A disk that is moving, or has moved, or whose name is taken -> one line that says where it is")
    func moving() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let to = "--to 127.0.0.1:\(nodes.port)"
        func ask(_ mistake: Mistake) async throws {
            try await mistake.check(in: nodes.scratch.path, ["--control", nodes.source.control])
        }
        #expect(
            try await nodes.source.ask([
                "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--switch", "manual", "--detach",
            ]).status == 0)
        try await ask(Mistake("twice", "migrate disk \(to)", "is being migrated to", "nearblock cancel disk"))
        #expect(try await nodes.source.ask(["switch", "disk"]).status == 0)
        #expect(try await nodes.source.ask(["wait", "disk"]).status == 0)
        try await ask(
            Mistake(
                "again", "migrate disk \(to)", "disk has moved to 127.0.0.1:\(nodes.port)",
                "give the command at that node"))
        try nodes.scratch.makeImage("second.raw", megabytes: 1)
        let second = try await NodeProcess(
            nodes.scratch.file("second"), [nodes.scratch.file("second.raw"), "--export", "disk"])
        try await Mistake("a name", "migrate disk \(to)", "disk is served there already", "another name")
            .check(in: nodes.scratch.path, ["--control", second.control])
        let third = try await NodeProcess(
            nodes.scratch.file("third"), ["--read-only", nodes.scratch.file("second.raw"), "--export", "a/b"])
        try await Mistake("a slash", "migrate a/b \(to)", "has a slash", "under another name")
            .check(in: nodes.scratch.path, ["--control", third.control])
        #expect(try await second.stop() == 0)
        #expect(try await third.stop() == 0)
    }

    @Test("Certificates of another host, of another authority, or missing on one side -> one line at the source")
    func certificates() async throws {
        let certificates = try await Certificates()
        let good = try await certificates.directory()
        let sides: [(String?, String?, [String])] = [
            (
                good, try await certificates.directory(server: .init(names: "DNS:b.example")),
                ["b.example", "give --to a name"]
            ),
            (
                good, try await certificates.directory(server: .init(isExpired: true)),
                ["of the other node, 127.0.0.1, expired on 20", "certificates make", "nearblock reload there"]
            ),
            (
                try await certificates.directory(client: .init(isExpired: true)), good,
                ["this node's certificate has expired, on 20", "certificates make", "nearblock reload here"]
            ),
            (try await certificates.directory(authority: "stranger"), good, ["authority"]),
            (nil, good, ["--peer-tls DIR"]), (good, nil, ["--peer-tls DIR"]),
        ]
        for (near, far, parts) in sides {
            let scratch = Scratch()
            try scratch.makeImage("disk.raw", megabytes: 1)
            let port = try FreePort.find()
            let there = try await NodeProcess(
                scratch.file("there"),
                ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("i")]
                    + (far.map { ["--peer-tls", $0] } ?? []))
            let here = try await NodeProcess(
                scratch.file("here"),
                [scratch.file("disk.raw"), "--export", "disk"] + (near.map { ["--peer-tls", $0] } ?? []))
            let result = try await here.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)"])
            #expect(result.status != 0 && result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
            for part in parts { #expect(result.errors.contains(part), "\(result.errors)") }
            #expect(try await here.stop() == 0)
            #expect(try await there.stop() == 0)
        }
    }
}
