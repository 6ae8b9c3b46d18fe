import Daemon
import Foundation
import TestSupport
import Testing

/// `nearblock site similarity` of hosts that share a folder.
@Suite("Similarity of a disk and a site", .timeLimit(.minutes(10)))
struct SiteSimilarityTests {
    /// Hosts `a`, which has the disk, and `b`, which has half of it, and a source that serves the disk.
    private func nodes() async throws -> (SiteNodes, data: UInt64) {
        let nodes = try SiteNodes()
        let scratch = nodes.scratch
        try scratch.makeImage("disk.raw", megabytes: 16)
        let disk = try scratch.data("disk.raw")
        try disk.write(to: URL(fileURLWithPath: scratch.file("whole.raw")))
        try (disk.prefix(8 << 20) + Data(repeating: 7, count: 8 << 20)).write(
            to: URL(fileURLWithPath: scratch.file("half.raw")))
        try await nodes.index(scratch.file("whole.raw"), of: "a")
        try await nodes.index(scratch.file("half.raw"), of: "b", domain: "shop")
        try await nodes.start("a")
        try await nodes.start("b")
        try await nodes.waitUntilListed(2)
        try await nodes.serve(scratch.file("disk.raw"))
        let blocks = stride(from: 0, to: disk.count, by: 4096).count { disk[$0..<$0 + 4096].contains { $0 != 0 } }
        return (nodes, UInt64(blocks * 4096))
    }

    private func measured(_ result: Command.Result) throws -> SiteSimilarity {
        try #require(result.status == 0, "\(result.errors)")
        return try JSONDecoder().decode(SiteSimilarity.self, from: Data(result.output.utf8))
    }

    @Test("An export, asked at its node -> the hosts that have most of it first, and what a move would send")
    func export() async throws {
        let (nodes, data) = try await nodes()
        let source = try #require(nodes.source)
        let similarity = try measured(
            try await source.ask(["site", "similarity", "disk", "--site", nodes.store, "--json"]))
        #expect(similarity.size == 16 << 20 && similarity.zero == (16 << 20) - data && similarity.repeated == 0)
        let site = try #require(similarity.sites.first)
        #expect(site.hosts.map(\.host) == ["a", "b"] && site.hosts.allSatisfy(\.alive), "\(site)")
        #expect(site.found > data * 99 / 100 && site.found + site.link == data, "\(site)")
        #expect(site.hosts[0].found > data * 99 / 100 && site.hosts[0].borrowed == site.found - site.hosts[0].found)
        #expect((data * 45 / 100...data * 55 / 100).contains(site.hosts[1].found), "\(site)")

        // The site lacks random bytes, which do not compress.
        let shop = try measured(
            try await source.ask(
                ["site", "similarity", "disk", "--site", nodes.store, "--domain", "shop", "--json"]))
        let part = try #require(shop.sites.first)
        #expect(part.hosts.map(\.host) == ["b", "a"] && part.hosts[1].found == 0, "\(part)")
        #expect(part.link > data * 45 / 100 && part.data >= part.link * 95 / 100, "\(part)")

        let text = try await source.ask(["site", "similarity", "disk", "--site", nodes.store])
        #expect(text.output.contains("would cross the link"), "\(text)")
        let rows = text.output.split(separator: "\n").dropFirst().filter { !$0.contains(nodes.store) }
        #expect(rows.count == 3 && rows.allSatisfy { $0.count <= 80 }, "\(text.output)")
        let unknown = try await source.ask(["site", "similarity", "disk"])
        #expect(unknown.status == 1 && unknown.errors.contains("is in no site"), "\(unknown)")
    }

    @Test("A path, without a node, and several sites -> the same figures; a site that is away is named")
    func path() async throws {
        let (nodes, data) = try await nodes()
        let (disk, absent) = (nodes.scratch.file("disk.raw"), nodes.scratch.file("absent"))
        let both = ["site", "similarity", disk, "--site", absent, "--site", nodes.store, "--json"]
        let similarity = try measured(try await Nearblock.run(both))
        #expect(similarity.sites.map(\.store) == [nodes.store])
        #expect(similarity.sites[0].found > data * 99 / 100)
        #expect(similarity.problems.contains { $0.contains(absent) }, "\(similarity.problems)")
        let none = try await Nearblock.run(["site", "similarity", disk, "--site", absent])
        #expect(none.status == 1 && none.errors.contains("holds no site"), "\(none)")
        let usage = try await Nearblock.run(["site", "similarity", disk])
        #expect(usage.status == 2 && usage.errors.contains("give --site STORE"), "\(usage)")
    }
}
