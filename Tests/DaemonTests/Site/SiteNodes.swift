import Foundation
import TestSupport
import Testing

/// Hosts of one site, and a source that serves `disk` elsewhere.
final class SiteNodes {
    let scratch = Scratch()
    private(set) var hosts: [String: NodeProcess] = [:]
    private var ports: [String: UInt16] = [:]
    private(set) var source: NodeProcess?

    var store: String { scratch.file("site") }

    init() throws {
        try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: true)
    }

    func index(_ image: String, of host: String, domain: String? = nil) async throws {
        let result = try await Nearblock.run(
            ["index", "add", "--index", scratch.file("index-\(host)"), image]
                + (domain.map { ["--domain", $0] } ?? []))
        try #require(result.status == 0, "\(result.errors)")
    }

    /// Starts the node of a host, or starts it again.
    func start(_ host: String, _ options: [String] = []) async throws {
        let port = try ports[host] ?? FreePort.find()
        ports[host] = port
        hosts[host] = try await NodeProcess(
            scratch.file(host),
            [
                "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images-\(host)"),
                "--index", scratch.file("index-\(host)"), "--site", store, "--host", host,
            ] + options)
    }

    func serve(_ image: String, _ options: [String] = []) async throws {
        source = try await NodeProcess(scratch.file("source"), [image, "--export", "disk"] + options)
    }

    /// Waits until all images of the site are in its catalogues.
    func waitUntilListed(_ images: Int) async throws {
        try await waitUntil("\(images) images are listed") {
            let status = try await Nearblock.run(["site", "status", "--site", store, "--json"])
            // There is no site before the first host has made it.
            guard status.status == 0,
                let answer = try JSONSerialization.jsonObject(with: Data(status.output.utf8)) as? [String: Any],
                let hosts = answer["hosts"] as? [[String: Any]], answer["unlisted"] as? Int == 0
            else { return false }
            return hosts.reduce(0) { $0 + (($1["images"] as? [Any])?.count ?? 0) } == images
        }
    }

    /// Sends the disk to a host; returns its ledger.
    func migrate(to host: String, _ options: [String] = []) async throws -> [String: Int] {
        let source = try #require(source)
        return try ledger(try await source.ask(try migration(to: host, options)))
    }

    /// The arguments of a command that sends the disk to a host.
    func migration(to host: String, _ options: [String] = []) throws -> [String] {
        ["migrate", "disk", "--to", "127.0.0.1:\(try #require(ports[host]))", "--json"] + options
    }

    /// The ledger of a migration that has succeeded.
    func ledger(_ result: Command.Result) throws -> [String: Int] {
        try #require(result.status == 0, "\(result.errors)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        return try #require(report["ledger"] as? [String: Int])
    }

    func arrived(at host: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(scratch.file("images-\(host)"))/disk.raw"))
    }
}
