import Foundation
import TestSupport
import Testing

/// Nodes of several hosts that share a folder.
@Suite("A site of several hosts", .timeLimit(.minutes(10)))
struct SiteTests {
    private static let megabytes = 16
    /// Bytes of the disk that are not zero.
    private static let data = megabytes << 20 / 3 * 2

    /// Random data of which every third block is zero, and a copy of it.
    private func twins(_ scratch: Scratch) throws -> (disk: String, neighbour: String) {
        try scratch.makeImage("disk.raw", megabytes: Self.megabytes)
        try FileManager.default.copyItem(atPath: scratch.file("disk.raw"), toPath: scratch.file("neighbour.raw"))
        return (scratch.file("disk.raw"), scratch.file("neighbour.raw"))
    }

    /// Hosts `a`, which has the disk's blocks as a neighbour, and `b`, and a source that serves the disk.
    /// - Parameter options: Those of each node, or none.
    private func hosts(
        domain: String? = nil, optionsOf: [String: [String]] = [:], options: () async throws -> [String] = { [] }
    ) async throws -> SiteNodes {
        let nodes = try SiteNodes()
        let (disk, neighbour) = try twins(nodes.scratch)
        try await nodes.index(neighbour, of: "a", domain: domain)
        for host in ["a", "b"] { try await nodes.start(host, try await options() + (optionsOf[host] ?? [])) }
        try await nodes.waitUntilListed(1)
        try await nodes.serve(disk, try await options())
        // The other host looks at the store every 10 s.
        try await Task.sleep(for: .seconds(11))
        return nodes
    }

    @Test("A disk arrives at one host, another has its blocks -> they are read there, and the image is equal")
    func borrowed() async throws {
        let metrics = try ["a", "b"].map { _ in try FreePort.find() }
        let nodes = try await hosts(
            optionsOf: ["a": ["--metrics", "\(metrics[0])"], "b": ["--metrics", "\(metrics[1])"]])
        let ledger = try await nodes.migrate(to: "b")
        #expect(ledger["neighbour"] ?? 0 > Self.data * 99 / 100, "\(ledger)")
        #expect(try nodes.arrived(at: "b") == nodes.scratch.data("disk.raw"))
        let (owner, borrower) = (try await Self.metrics(metrics[0]), try await Self.metrics(metrics[1]))
        #expect(owner["nearblock_site_lent_bytes_total"] ?? 0 >= Double(Self.data * 99 / 100), "\(owner)")
        #expect(owner["nearblock_site_published_tables"] == 1 && owner["nearblock_site_borrowed_bytes_total"] == 0)
        #expect(borrower["nearblock_site_borrowed_bytes_total"] ?? 0 >= Double(Self.data * 99 / 100), "\(borrower)")
        #expect(borrower["nearblock_site_hits_total"] ?? 0 >= Double(Self.data / 4096 * 99 / 100), "\(borrower)")
        #expect(borrower["nearblock_site_stale_hits_total"] == 0 && borrower["nearblock_site_refused_total"] == 0)
        #expect(borrower[#"nearblock_site_hosts{state="alive"}"#] == 2, "\(borrower)")
        #expect((0..<60).contains(borrower["nearblock_site_refresh_age_seconds"] ?? -1), "\(borrower)")
    }

    /// The site's metrics of a node, by name with labels.
    private static func metrics(_ port: UInt16) async throws -> [String: Double] {
        let read = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1]).read().decode())"
        let page = try await Command.run("python3", ["-c", read, "http://127.0.0.1:\(port)/metrics"])
        try #require(page.status == 0, "\(page.errors)")
        let lines = page.output.split(separator: "\n").filter { $0.hasPrefix("nearblock_site_") }
        return Dictionary(
            uniqueKeysWithValues: lines.compactMap { line in
                let words = line.split(separator: " ")
                return words.count == 2 ? Double(words[1]).map { (String(words[0]), $0) } : nil
            })
    }

    @Test(
        "The neighbour's host is killed, or its image has changed -> misses, and the image is equal",
        arguments: [true, false])
    func lost(isKilled: Bool) async throws {
        let nodes = try await hosts()
        if isKilled {
            try await nodes.hosts["a"]?.kill()
        } else {
            try nodes.scratch.makeImage("neighbour.raw", megabytes: Self.megabytes)
        }
        let ledger = try await nodes.migrate(to: "b")
        #expect(ledger["neighbour"] == 0, "\(ledger)")
        #expect(try nodes.arrived(at: "b") == nodes.scratch.data("disk.raw"))
        let messages = nodes.hosts["b"]?.messages ?? ""
        let words = isKilled ? "are no neighbours now" : "are not what its tables say"
        #expect(messages.components(separatedBy: words).count == 2, "\(messages)")
        #expect(messages.components(separatedBy: "host 'a'").count == 2, "\(messages)")
    }

    @Test("A host that answers just in time, each time -> it is left alone, named, and the image is equal")
    func slow() async throws {
        // 1 MiB takes 4.4 s.
        let nodes = try await hosts(optionsOf: ["a": ["--site-rate", "1900K"]])
        let ledger = try await nodes.migrate(to: "b")
        #expect(ledger["neighbour"] ?? .max < Self.data * 2 / 3, "\(ledger)")
        #expect(try nodes.arrived(at: "b") == nodes.scratch.data("disk.raw"))
        let messages = nodes.hosts["b"]?.messages ?? ""
        #expect(messages.contains("the host 'a'") && messages.contains("is too slow to read from"), "\(messages)")
    }

    @Test(
        "Post-copy -> missing blocks are read at another host, but for a disk of another domain",
        arguments: [true, false])
    func postCopy(isAllowed: Bool) async throws {
        let nodes = try await hosts(domain: isAllowed ? nil : "shop")
        let ledger = try await nodes.migrate(
            to: "b", ["--switch", "now"] + (isAllowed ? [] : ["--domain", "other"]))
        if isAllowed {
            #expect(ledger["neighbour"] ?? 0 > Self.data * 9 / 10, "\(ledger)")
        } else {
            #expect(ledger["neighbour"] == 0, "\(ledger)")
        }
        #expect(try nodes.arrived(at: "b") == nodes.scratch.data("disk.raw"))
    }

    @Test("A disk in post-copy -> neighbours of this host in another domain are not used either")
    func postCopyAtHome() async throws {
        let nodes = try SiteNodes()
        let (disk, neighbour) = try twins(nodes.scratch)
        try await nodes.index(neighbour, of: "b", domain: "shop")
        try await nodes.start("b")
        try await nodes.serve(disk)
        let ledger = try await nodes.migrate(to: "b", ["--switch", "now", "--domain", "other"])
        #expect(ledger["neighbour"] == 0, "\(ledger)")
    }

    @Test("The same blocks arrive at two hosts -> they cross the link once, and both images are equal")
    func shared() async throws {
        let nodes = try SiteNodes()
        let (disk, twin) = try twins(nodes.scratch)
        for host in ["a", "b"] {
            try await nodes.index(try nodes.scratch.hole(1 << 20, "nothing-\(host).raw"), of: host)
            try await nodes.start(host)
        }
        try await nodes.serve(disk)
        let other = try await NodeProcess(nodes.scratch.file("other"), [twin, "--export", "disk"])
        // The hosts look at the store every 10 s.
        try await nodes.waitUntilListed(2)
        try await Task.sleep(for: .seconds(11))
        let source = try #require(nodes.source)
        let commands = [try nodes.migration(to: "a", ["--rate", "8M"]), try nodes.migration(to: "b")]
        let first = Task { try await source.ask(commands[0]) }
        try await waitUntil("blocks come to the first host") {
            let progress = try await source.exports().first?["progress"] as? [String: Any]
            return progress?["wire"] as? Int ?? 0 > 1 << 20
        }
        let second = try await other.ask(commands[1])
        let ledgers = [try nodes.ledger(try await first.value), try nodes.ledger(second)]
        let sent = ledgers.reduce(0) { $0 + ($1["link"] ?? 0) }
        #expect(sent < Self.data * 105 / 100, "\(ledgers)")
        #expect(ledgers.reduce(0) { $0 + ($1["neighbour"] ?? 0) } > Self.data * 95 / 100, "\(ledgers)")
        for host in ["a", "b"] { #expect(try nodes.arrived(at: host) == nodes.scratch.data("disk.raw")) }
    }

    @Test("With certificates -> a host of the site may read, by the one that its record names")
    func certificates() async throws {
        let certificates = try await Certificates()
        let nodes = try await hosts { ["--peer-tls", try await certificates.directory()] }
        let record = "\(nodes.store)/hosts/b/host.json"
        let ledger = try await nodes.migrate(to: "b")
        #expect(ledger["neighbour"] ?? 0 > Self.data * 99 / 100, "\(ledger)")
        #expect(try String(contentsOfFile: record, encoding: .utf8).contains("\"certificates\":[\""))
    }

    @Test("A store that is not there at the start -> the node serves, says so, and joins once it is there")
    func absentStore() async throws {
        let nodes = try SiteNodes()
        try FileManager.default.removeItem(atPath: nodes.store)
        try await nodes.start("a")
        try await nodes.hosts["a"]?.wait(for: "cannot open \(nodes.store)")
        try FileManager.default.createDirectory(atPath: nodes.store, withIntermediateDirectories: true)
        try await nodes.hosts["a"]?.wait(for: "the site is whole again")
        #expect(try await nodes.hosts["a"]?.stop() == 0)
    }

    @Test("Images of another domain -> not used")
    func domains() async throws {
        let nodes = try await hosts(domain: "shop")
        let ledger = try await nodes.migrate(to: "b", ["--domain", "other"])
        #expect(ledger["neighbour"] == 0, "\(ledger)")
    }

    @Test("Options of a site that lack another -> refused with the one that is missing")
    func missingOptions() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let folder = scratch.file("site")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        func refused(_ options: [String]) async throws -> String {
            let result = try await Nearblock.run(
                ["serve", scratch.file("disk.raw"), "--socket", scratch.file("s"), "--state", scratch.file("state")]
                    + options)
            #expect(result.status != 0)
            return result.errors
        }
        let site = ["--site", folder, "--host", "a"]
        #expect(try await refused(site).contains("--site needs --peer-listen"))
        let listening = ["--peer-listen", "127.0.0.1:0", "--images", scratch.file("images")]
        #expect(try await refused(site + listening).contains("--site needs --index"))
        let all = listening + ["--index", scratch.file("index")]
        #expect(try await refused(["--site", folder, "--host", "../a"] + all).contains("can't be a host's name"))
    }

    @Test("Status, verify and remove -> the hosts, damage, and only hosts that are gone")
    func operations() async throws {
        let nodes = try SiteNodes()
        let (_, neighbour) = try twins(nodes.scratch)
        try await nodes.index(neighbour, of: "a")
        try await nodes.start("a")
        try await nodes.waitUntilListed(1)
        let site = ["--site", nodes.store]
        let status = try await Nearblock.run(["site", "status"] + site)
        #expect(status.output.contains("alive") && status.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
        #expect(try await Nearblock.run(["site", "verify"] + site).status == 0)
        let refused = try await Nearblock.run(["site", "remove"] + site + ["a"])
        #expect(refused.status == 1 && refused.errors.contains("is alive"), "\(refused)")
        let unknown = try await Nearblock.run(["site", "remove"] + site + ["b"])
        #expect(unknown.status == 1 && unknown.errors.contains("has no host 'b'"), "\(unknown)")
        _ = try await nodes.hosts["a"]?.stop()
        let folder = "\(nodes.store)/hosts/a"
        let table = try #require(
            try FileManager.default.contentsOfDirectory(atPath: folder).first { $0.hasSuffix(".table") })
        let file = try #require(FileHandle(forUpdatingAtPath: "\(folder)/\(table)"))
        try file.seek(toOffset: 8192)
        file.write(Data(repeating: 7, count: 64))
        try file.close()
        let damaged = try await Nearblock.run(["site", "verify"] + site)
        #expect(damaged.status == 1 && damaged.errors.contains("is damaged (fingerprints)"), "\(damaged)")
        #expect(try await Nearblock.run(["site", "remove"] + site + ["a"]).status == 0)
        #expect(!FileManager.default.fileExists(atPath: folder))
    }
}
